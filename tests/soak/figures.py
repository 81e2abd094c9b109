"""What a gateway process takes at one moment, and whether it takes more than it did before."""

from dataclasses import dataclass
from pathlib import Path

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

MEMORY_SHARE = 1.10
MEMORY_SLACK = 12 * 1024 * 1024
"""Bytes: an allocator keeps what it may need again, and a garbage collector has its turns."""

DESCRIPTORS_SLACK = 10
"""Connections to Redis come and go: the pool has up to 8, sentinels one each."""

TASKS_SLACK = 3
"""A poll or a round trip may be under way."""


@dataclass(frozen=True, slots=True)
class Figures:
    """One gateway at a quiet moment."""

    streams: int
    listed: int
    """Streams by `/streams`."""
    sockets: int
    """Connections of readers, by the kernel."""
    memory: int
    descriptors: int
    tasks: int
    dead_tasks: int


async def measure(session: aiohttp.ClientSession, port: int, admin_port: int) -> Figures:
    """The figures of the gateway on *port*, by its admin port and the kernel."""
    async with session.get(f"http://127.0.0.1:{admin_port}/metrics") as response:
        families = text_string_to_metric_families(await response.text())
        values = {one.name: one.value for family in families for one in family.samples}
    async with session.get(f"http://127.0.0.1:{admin_port}/streams") as response:
        listed = (await response.json())["open"]
    return Figures(
        streams=int(values["sse_gateway_streams_open"]),
        listed=listed,
        sockets=sockets(port),
        memory=int(values["process_resident_memory_bytes"]),
        descriptors=int(values["process_open_fds"]),
        tasks=int(values["sse_gateway_tasks"]),
        dead_tasks=int(values["sse_gateway_tasks_dead"]),
    )


def sockets(port: int) -> int:
    """The connections that the kernel has on *port*: established, or half closed by the peer."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    local = f":{port:04X}"
    return len([one for one in lines if one[1].endswith(local) and one[3] in ("01", "08")])


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the verdict."""

    what: str
    began: int
    ended: int
    allowed: int

    @property
    def is_well(self) -> bool:
        return self.ended <= self.allowed


def compare(name: str, began: Figures, ended: Figures) -> list[Line]:
    """Whether the gateway *name* ends where it *began*."""
    return [
        Line(f"{name}: open streams", began.streams, ended.streams, 0),
        Line(f"{name}: listed streams", began.listed, ended.listed, 0),
        Line(f"{name}: sockets of readers", began.sockets, ended.sockets, 0),
        Line(f"{name}: dead tasks", began.dead_tasks, ended.dead_tasks, 0),
        Line(f"{name}: tasks", began.tasks, ended.tasks, began.tasks + TASKS_SLACK),
        Line(
            f"{name}: file descriptors",
            began.descriptors,
            ended.descriptors,
            began.descriptors + DESCRIPTORS_SLACK,
        ),
        Line(
            f"{name}: memory, KiB",
            began.memory // 1024,
            ended.memory // 1024,
            int(began.memory * MEMORY_SHARE + MEMORY_SLACK) // 1024,
        ),
    ]
