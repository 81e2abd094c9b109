"""How long an event takes from PUBLISH to the reader's socket, and what 15,000 heartbeats add."""

import asyncio
import json
from dataclasses import dataclass

from tests.bench.figures import Figure, percentile
from tests.bench.processes import ROOT, python
from tests.bench.stage import Gateway, Stage


async def play(stage: Stage) -> None:
    """10,000 deliveries a second over 5,000 executions; then the same among 15,000 streams."""
    count, idle = stage.size(5000, 50), stage.size(10_000, 100)
    executions = await stage.executions(count, events=1)
    async with stage.gateway(heartbeat_seconds=5) as gateway:
        await gateway.crowd.open(executions, replayed=1)
        envelopes = await stage.envelopes(executions, [gateway.crowd])
        load = Load(stage, gateway, executions, envelopes.epochs)
        alone = await load.after_opening()
        # Their heartbeats are due every five seconds instead of twenty: four times as many.
        others = await stage.executions(stage.size(1000, 10))
        await gateway.crowd.open(others[n % len(others)] for n in range(idle))
        among = await load.after_opening()
    stage.add(
        Figure("latency, half of all", percentile(alone, 0.5) * 1000, "ms", most=0.5),
        Figure("latency, 99 of 100", percentile(alone, 0.99) * 1000, "ms", most=3),
        Figure("latency, 999 of 1000", percentile(alone, 0.999) * 1000, "ms"),
        Figure(
            "heartbeats of 15,000 streams add, 999 of 1000",
            max(0.0, percentile(among, 0.999) - percentile(alone, 0.999)) * 1000,
            "ms",
            most=5,
        ),
    )


@dataclass
class Load:
    """Two events a second for each of the executions."""

    stage: Stage
    gateway: Gateway
    executions: list[str]
    epochs: list[bytes]
    published: int = 0

    async def after_opening(self) -> list[float]:
        """`measure`, the second time: opening has left the collector a pass over what is new, which
        is not what is asked here."""
        await self.measure()
        return await self.measure()

    async def measure(self) -> list[float]:
        """The latencies of some seconds."""
        crowd = self.gateway.crowd
        rate = 2 * len(self.executions)
        events = rate * self.stage.size(8, 1)
        asked = {
            "port": self.stage.redis_process.port,
            "rate": rate,
            "events": events,
            "first": self.published,
            "executions": [
                (name, epoch.decode())
                for name, epoch in zip(self.executions, self.epochs, strict=True)
            ],
        }
        seen = crowd.events
        del crowd.latencies[:]
        pacer = await asyncio.create_subprocess_exec(
            *python("-m", "tests.bench.pacer"), stdin=asyncio.subprocess.PIPE, cwd=ROOT
        )
        await pacer.communicate(json.dumps(asked).encode() + b"\n")
        assert pacer.returncode == 0
        await crowd.seen(seen + events)
        self.published += events
        return list(crowd.latencies)
