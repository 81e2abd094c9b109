"""What a gateway holds at one moment, by its own account and by the kernel's."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tests.harness.gateway_process import GatewayProcess
from tests.support import DEADLINE

Samples = dict[str, float]

_ESTABLISHED = "01"


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one gateway process. *rss* in bytes, *at* in seconds since the epoch."""

    gateway: str
    pid: int
    at: float
    streams: int
    listed: int
    """Streams in `/streams`."""
    sockets: int
    """Connections to the port for browsers."""
    descriptors: int
    tasks: int
    dead_tasks: int
    rss: int
    queued: int
    """Bytes that wait for readers."""
    opened: int
    """Streams since the process began."""
    unaccounted: int
    """Streams that were opened and neither are open nor have ended with a reason."""
    gaps: int
    malformed: int


def parse(exposition: str) -> Samples:
    """Samples by name; those with labels are added up, and stand there with each value too."""
    found: Samples = {}
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0.0) + sample.value
            for value in sample.labels.values():
                found[f"{sample.name}:{value}"] = sample.value
    return found


def connections(port: int) -> int:
    """TCP connections that are established on the local *port*, as Linux tells."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    rows = [line.split() for line in lines]
    return sum(
        int(local.rpartition(":")[2], 16) == port and state == _ESTABLISHED
        for _, local, _, state, *_ in rows
    )


async def look(name: str, gateway: GatewayProcess) -> Figures:
    """What *gateway* holds now.

    Raises:
        aiohttp.ClientError: nobody answers at its address for operators.
    """
    # A connection for each question: kept open, it would be one of its descriptors or not.
    connector = aiohttp.TCPConnector(force_close=True)
    timeout = aiohttp.ClientTimeout(total=DEADLINE)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        metrics = parse(await _get(session, f"{gateway.admin_url}/metrics", "text"))
        streams = await _get(session, f"{gateway.admin_url}/streams", "json")
    return _figures(name, gateway, metrics, streams["open"])


async def _get(session: aiohttp.ClientSession, url: str, form: str) -> Any:
    async with session.get(url) as response:
        response.raise_for_status()
        return await getattr(response, form)()


def _figures(name: str, gateway: GatewayProcess, metrics: Samples, listed: int) -> Figures:
    def own(metric: str) -> int:
        return int(metrics[f"sse_gateway_{metric}"])

    opened, ended = own("streams_opened_total"), own("streams_closed_total")
    return Figures(
        gateway=name,
        pid=gateway.pid,
        at=time.time(),
        streams=own("streams_open"),
        listed=listed,
        sockets=connections(gateway.port),
        descriptors=int(metrics["process_open_fds"]),
        tasks=own("tasks"),
        dead_tasks=own("tasks_dead"),
        rss=int(metrics["process_resident_memory_bytes"]),
        queued=own("queue_bytes"),
        opened=opened,
        unaccounted=opened - ended - own("streams_open"),
        gaps=own("gaps_total"),
        malformed=own("events_dropped_total:malformed"),
    )
