"""How long an event takes from PUBLISH to the reader's socket, and what 15,000 heartbeats add."""

import asyncio
import time
from dataclasses import dataclass

from tests.bench.figures import Figure, percentile
from tests.bench.stage import Envelopes, Gateway, Stage

_TICK = 0.001
"""Seconds between two moments of publishing."""


async def play(stage: Stage) -> None:
    """10,000 deliveries a second over 5,000 executions; then the same among 15,000 streams."""
    count, idle = stage.size(5000, 50), stage.size(10_000, 100)
    executions = await stage.executions(count, events=1)
    async with stage.gateway(heartbeat_seconds=5) as gateway:
        await gateway.crowd.open(executions, replayed=1)
        load = Load(stage, gateway, executions, await stage.envelopes(executions))
        alone = await load.measure()
        # Their heartbeats are due every five seconds instead of twenty: four times as many.
        others = await stage.executions(stage.size(1000, 10))
        await gateway.crowd.open(others[n % len(others)] for n in range(idle))
        among = await load.measure()
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
    envelopes: Envelopes
    published: int = 0

    async def measure(self) -> list[float]:
        """The latencies of some seconds."""
        crowd, seconds = self.gateway.crowd, self.stage.size(8, 1)
        rate = 2 * len(self.executions)
        publisher = await self.stage.publisher()
        begin, seen, first = time.monotonic(), crowd.events, self.published
        del crowd.latencies[:]
        while (done := self.published - first) < rate * seconds:
            due = min(int((time.monotonic() - begin) * rate) + 1, rate * seconds) - done
            begun, self.published = self.published, self.published + due
            names = [self.executions[n % len(self.executions)] for n in range(begun, begun + due)]
            await publisher.publish(names, self.envelopes.make(begun, begun + due))
            await asyncio.sleep(_TICK)
        await crowd.seen(seen + rate * seconds)
        await publisher.close()
        return list(crowd.latencies)
