"""What a scenario uses: a real gateway on a core of its own, a real Redis, tabs, a publisher.

The gateway has everything switched on: tokens, registry, ids, recording, history, all limits.
"""

import asyncio
import compileall
import json
import os
import resource
import secrets
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

from redis.asyncio import Redis

from gateway.access.tokens import issue
from gateway.bus import scripts
from gateway.contract.keys import PublishTo, channels_of
from gateway.contract.registration import Registration
from gateway.contract.scripts import HistoryLimits, publish_call
from gateway.process import tune_gc
from tests.bench.figures import Figure
from tests.bench.messages import Envelopes, Publisher, message
from tests.bench.processes import ROOT, cores, floor_program, python
from tests.bench.tabs import Crowd
from tests.harness.gateway_process import GatewayProcess
from tests.harness.history import ids
from tests.harness.proc import cpu_seconds, rss_kib
from tests.harness.redis_process import RedisProcess
from tests.support import SECRET

ORGANIZATION = "bench"
FRAME_BYTES = 380
"""Bytes of one event as the gateway writes it, chunk framing included; the floor sends as many."""

_ENDLESS_MS = 10**9


class Gateway(GatewayProcess):
    """A gateway on a core of its own, with a crowd of tabs."""

    def __init__(self, settings: Mapping[str, str], core: int, **options: Any) -> None:
        super().__init__(settings, preexec_fn=lambda: os.sched_setaffinity(0, {core}), **options)
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
    paced: int = 0
    """Events that `pace` has published."""
    in_cluster = False
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
        self, crowd: Crowd, executions: Sequence[str], *, rate: int, events: int, script: bool,
        share: float = 1.0, to: PublishTo = "pattern",
    ) -> list[float]:  # fmt: skip
        """Publish *events* at an even *rate* from a process of its own; their latencies. With
        *script* as `Publisher` does. *share*: of these that the crowd sees."""
        seen = crowd.events
        del crowd.latencies[:]
        each = events // len(executions)
        parts = self.parts(executions)
        asked = [
            {
                "port": port,
                "rate": rate * len(some) / len(executions),
                "events": each * len(some) if len(parts) > 1 else events,
                # Else the second time's idempotency keys would be those of the first time.
                "first": self.paced,
                "executions": [(name, "0") for name in some],
                "script": script,
                "to": to,
                "in_cluster": self.in_cluster,
            }
            for port, some in parts.items()
        ]
        self.paced += events
        await asyncio.gather(*(self._paced(one) for one in asked))
        await crowd.seen(seen + int(events * share))
        return list(crowd.latencies)

    async def _paced(self, asked: object) -> None:
        pacer = await asyncio.create_subprocess_exec(
            *python("-m", "tests.bench.pacer"), stdin=asyncio.subprocess.PIPE, cwd=ROOT
        )
        await pacer.communicate(json.dumps(asked).encode() + b"\n")
        assert pacer.returncode == 0

    def parts(self, executions: Sequence[str]) -> Mapping[int, Sequence[str]]:
        """By the port of the Redis that has them."""
        return {self.redis_process.port: executions}

    async def redis_cpu(self) -> float:
        """CPU seconds that Redis has used."""
        return cpu_seconds(int((await self.redis.info("server"))["process_id"]))

    @asynccontextmanager
    async def gateway(self, port: int = 0, **settings: object) -> AsyncIterator[Gateway]:
        """A gateway with everything on; *settings* by their names."""
        gateway = await self.start_gateway(port, None, **settings)
        try:
            yield gateway
        finally:
            gateway.crowd.close()
            await gateway.stop()

    async def start_gateway(
        self, port: int = 0, held: socket.socket | None = None, **settings: object
    ) -> Gateway:
        """A gateway that runs; on the socket *held* as on one of systemd's."""
        gateway = self.make_gateway(port, held, **settings)
        await gateway.start()
        return gateway

    def make_gateway(
        self, port: int = 0, held: socket.socket | None = None, **settings: object
    ) -> Gateway:
        """One that is not started yet."""
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
        sockets = {"http": held} if held is not None else {}
        return Gateway(
            {"REDIS_URL": self.redis_process.url, **variables}, self.core, sockets=sockets
        )

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

    async def record(self, executions: Sequence[str], to: PublishTo = "pattern") -> None:
        """One event for each, as `Publisher` does it: in history, and published with its id."""
        for begin in range(0, len(executions), 500):
            calls = [
                publish_call(
                    name,
                    message(),
                    **channels_of(to, "execution:", name, in_cluster=self.in_cluster)._asdict(),
                    terminal_type="",
                    idempotency_key=secrets.token_hex(8),
                    limits=HistoryLimits(),
                )
                for name in executions[begin : begin + 500]
            ]
            await scripts.run_all(self.redis, calls)

    async def envelopes(
        self, executions: Sequence[str], crowds: Sequence[Crowd], to: PublishTo = "pattern"
    ) -> Envelopes:
        """Messages with ids for *executions*, which have one event each. They get a second one,
        that *crowds* see: a gateway that knows no epoch of theirs would record a message of each.
        """
        some = set(executions)
        wanted = [one.events + sum(tab.execution in some for tab in one.tabs) for one in crowds]
        await self.record(executions, to)
        for crowd, events in zip(crowds, wanted, strict=True):
            await crowd.seen(events)
        epochs = []
        for name in executions:
            *_, event_id = await ids(self.redis, name)
            epochs.append(event_id.partition("-")[0].encode())
        return Envelopes(epochs)

    async def publisher(self) -> Publisher:
        """A connection that publishes without waiting for answers."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.redis_process.port)
        return Publisher(reader, writer)

    def add(self, *figures: Figure) -> None:
        self.figures += figures


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
    # As pip does where it installs: with PYTHONDONTWRITEBYTECODE each start would compile again.
    compileall.compile_dir(ROOT / "gateway", quiet=1)
    redis_process = RedisProcess()
    redis_process.start()
    try:
        async with Redis.from_url(redis_process.url) as redis:
            yield Stage(redis_process, redis, core, full)
    finally:
        redis_process.stop()
