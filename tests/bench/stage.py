"""What a scenario uses: a real gateway on a core of its own, a real Redis, tabs, a publisher.

The gateway has everything switched on: tokens, registry, ids, recording, history, all limits.
"""

import asyncio
import json
import os
import resource
import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

from redis.asyncio import Redis

from gateway.access.tokens import issue
from gateway.bus import scripts
from gateway.contract.registration import Registration
from gateway.contract.scripts import HistoryLimits, publish_call
from gateway.process import tune_gc
from tests.bench.figures import Figure
from tests.bench.processes import ROOT, cores, floor_program, python
from tests.bench.tabs import STAMP, Crowd
from tests.harness.gateway_process import GatewayProcess
from tests.harness.history import ids
from tests.harness.proc import cpu_seconds, rss_kib
from tests.harness.redis_process import RedisProcess
from tests.support import SECRET

ORGANIZATION = "bench"
FRAME_BYTES = 380
"""Bytes of one event as the gateway writes it, chunk framing included; the floor sends as many."""

_ENDLESS_MS = 10**9


def command(*words: bytes) -> bytes:
    """A Redis command as it goes over the wire (RESP)."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words)


def message(padding: int = 205) -> bytes:
    """A worker's message, stamped with this moment."""
    return b'{"type":"step:completed","execution_id":"bench","data":{"output":"%b",%b%d}}' % (
        b"y" * padding,
        STAMP,
        time.monotonic_ns(),
    )


class Gateway(GatewayProcess):
    """A gateway on a core of its own, with a crowd of tabs."""

    def __init__(self, settings: Mapping[str, str], core: int) -> None:
        super().__init__(settings, preexec_fn=lambda: os.sched_setaffinity(0, {core}))
        token = issue(SECRET, organization_id=ORGANIZATION)
        headers = f"Authorization: Bearer {token}\r\nX-Organization-ID: {ORGANIZATION}\r\n"
        self.headers = repeat(headers)

    async def start(self, **options: Any) -> None:
        await super().start(**options)
        self.crowd = Crowd("127.0.0.1", self.port, self.headers)

    @property
    def cpu(self) -> float:
        return cpu_seconds(self.pid)

    @property
    def rss(self) -> int:
        return rss_kib(self.pid)


@dataclass
class Stage:
    """Given to each scenario. `full` is False for a run that only shows that the bench works."""

    redis_process: RedisProcess
    redis: Redis
    core: int
    full: bool = True
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _floors: list[float] = field(default_factory=list)

    def size(self, full: int, quick: int) -> int:
        """*full*, or *quick* for a short run."""
        return full if self.full else quick

    async def floor(self, sockets: int) -> float:
        """CPU seconds of one `send()` of one frame, measured now. Warns when it is not what it was
        before: then the machine is too noisy to tell."""
        cost = await self._floor(sockets, floor_program())
        if self._floors and not 0.8 < cost / self._floors[-1] < 1.25:
            self.notes.append(
                f"noisy: the floor was {self._floors[-1] * 1e6:.1f} us a send, and now is "
                f"{cost * 1e6:.1f}; do not trust these ratios"
            )
        self._floors.append(cost)
        return cost

    async def uvloop_floor(self, sockets: int) -> float:
        """The same by a transport of uvloop: what any server on it pays."""
        return await self._floor(sockets, python(str(ROOT / "tests/bench/floor.py")), "uvloop")

    async def _floor(self, sockets: int, program: list[str], *how: str) -> float:
        asked = (sockets, self.size(100, 10), 20.0, FRAME_BYTES, self.core, *how)
        process = await asyncio.create_subprocess_exec(
            *program, *map(str, asked), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        port = int(await process.stdout.readline())
        readers = []
        for _ in range(sockets):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            readers.append((asyncio.ensure_future(reader.read()), writer))
        cost = float(await process.stdout.readline())
        await process.wait()
        for reading, writer in readers:
            await reading
            writer.close()
        return cost

    async def pace(
        self, crowd: Crowd, executions: Sequence[str], *, rate: int, events: int, script: bool
    ) -> list[float]:
        """Publish *events* at an even *rate* from a process of its own; their latencies. With
        *script* as `Publisher` does."""
        seen = crowd.events
        del crowd.latencies[:]
        asked = {
            "port": self.redis_process.port,
            "rate": rate,
            "events": events,
            "first": 0,
            "executions": [(name, "0") for name in executions],
            "script": script,
        }
        pacer = await asyncio.create_subprocess_exec(
            *python("-m", "tests.bench.pacer"), stdin=asyncio.subprocess.PIPE, cwd=ROOT
        )
        await pacer.communicate(json.dumps(asked).encode() + b"\n")
        assert pacer.returncode == 0
        await crowd.seen(seen + events)
        return list(crowd.latencies)

    @asynccontextmanager
    async def gateway(self, port: int = 0, **settings: object) -> AsyncIterator[Gateway]:
        """A gateway with everything on; *settings* by their names."""
        gateway = await self.start_gateway(port, **settings)
        try:
            yield gateway
        finally:
            gateway.crowd.close()
            await gateway.stop()

    async def start_gateway(self, port: int = 0, **settings: object) -> Gateway:
        given = {
            "port": port,
            "admin_port": "off",
            "ownership": "registry",
            "log_level": "warning",
            "drain_seconds": 1,
            "max_streams_per_organization": 1_000_000,
            "max_streams_per_subject": 1_000_000,
            "max_streams_per_address": 1_000_000,
            "max_opens_per_second": 1_000_000,
            **settings,
        }
        variables = {f"GATEWAY_{name.upper()}": str(value) for name, value in given.items()}
        gateway = Gateway({"REDIS_URL": self.redis_process.url, **variables}, self.core)
        await gateway.start()
        return gateway

    async def executions(self, count: int, events: int = 0) -> list[str]:
        """New executions, registered, each with *events* in its history."""
        run = secrets.token_hex(4)
        names = [f"bench-{run}-{number}" for number in range(count)]
        limits = HistoryLimits(open_ttl_ms=_ENDLESS_MS)
        for begin in range(0, count, 100):
            calls = [
                Registration(name, ORGANIZATION).call(limits) for name in names[begin : begin + 100]
            ]
            await scripts.run_all(self.redis, calls)
        for _ in range(events):
            await self.record(names)
        return names

    async def record(self, executions: Sequence[str]) -> None:
        """One event for each, as `Publisher` does it: in history, and published with its id."""
        for begin in range(0, len(executions), 500):
            calls = [
                publish_call(
                    name,
                    message(),
                    channel=f"execution:{name}",
                    terminal_type="",
                    idempotency_key=secrets.token_hex(8),
                    limits=HistoryLimits(),
                )
                for name in executions[begin : begin + 500]
            ]
            await scripts.run_all(self.redis, calls)

    async def envelopes(self, executions: Sequence[str]) -> "Envelopes":
        """Messages with ids for *executions*, which have one event each."""
        epochs = []
        for name in executions:
            [event_id] = await ids(self.redis, name)
            epochs.append(event_id.partition("-")[0].encode())
        return Envelopes(epochs)

    async def publisher(self) -> "Publisher":
        """A connection that publishes without waiting for answers."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.redis_process.port)
        return Publisher(reader, writer)

    def add(self, *figures: Figure) -> None:
        self.figures += figures


class Envelopes:
    """Messages as `Publisher` publishes them, with ids that go on where history ends, and without
    the history: live, a stream takes what follows, and asks no more."""

    def __init__(self, epochs: list[bytes]) -> None:
        self.epochs = epochs

    def make(self, begin: int, end: int) -> list[bytes]:
        """Those of number *begin* to *end*, of one execution after the other, in turn."""
        count = len(self.epochs)
        return [
            b'{"id":"%b-%d",%b' % (self.epochs[n % count], n // count + 2, message()[1:])
            for n in range(begin, end)
        ]


class Publisher:
    """PUBLISHes, as many in one write as are given."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._reading = asyncio.ensure_future(self._discard(reader))

    async def publish(self, executions: Sequence[str], messages: Sequence[bytes]) -> None:
        """Each message on the channel of the execution at its place."""
        self._writer.writelines(
            command(b"PUBLISH", b"execution:" + name.encode(), one)
            for name, one in zip(executions, messages, strict=True)
        )
        await self._writer.drain()

    async def _discard(self, reader: asyncio.StreamReader) -> None:
        while await reader.read(2**16):
            pass

    async def close(self) -> None:
        self._writer.close()
        await self._reading


@asynccontextmanager
async def stage(full: bool) -> AsyncIterator[Stage]:
    """A stage with its Redis.

    Raises:
        CannotMeasure: not on this machine.
    """
    core, others = cores()
    os.sched_setaffinity(0, others)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # A full pass of the collector over ten thousand tabs would be taken for the gateway's latency.
    tune_gc()
    redis_process = RedisProcess()
    redis_process.start()
    try:
        async with Redis.from_url(redis_process.url) as redis:
            yield Stage(redis_process, redis, core, full)
    finally:
        redis_process.stop()
