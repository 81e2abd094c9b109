"""Whether readers that do not read delay those that do."""

import asyncio
import time

from tests.bench.figures import Figure, percentile
from tests.bench.messages import Publisher, message
from tests.bench.stage import Gateway, Stage

_RATE = 20


async def play(stage: Stage) -> None:
    """1,000 tabs of one execution, all reading; then 100 of them freeze."""
    count = stage.size(1000, 50)
    [execution] = await stage.executions(1, events=1)
    async with stage.gateway(write_timeout_seconds=60) as gateway:
        crowd = gateway.crowd
        await crowd.open([execution] * count, replayed=1)
        publisher = await stage.publisher()
        before = await _measure(stage, gateway, publisher, execution, count)
        frozen = crowd.tabs[::10]
        for tab in frozen:
            assert tab.transport is not None
            tab.transport.pause_reading()
        # First let their sockets fill: as long as the kernel takes it, nothing is different.
        padding = 20_000
        for _ in range(stage.size(400, 20)):
            await publisher.publish([execution], [message(padding)])
            await asyncio.sleep(0.005)
        await asyncio.sleep(1)
        after = await _measure(stage, gateway, publisher, execution, count - len(frozen))
        await publisher.close()
    change = (percentile(after, 0.99) / percentile(before, 0.99) - 1) * 100
    stage.add(
        Figure("latency among 1,000 tabs, 99 of 100", percentile(before, 0.99) * 1000, "ms"),
        Figure("100 frozen readers change it by", change, "%", most=20),
    )


async def _measure(
    stage: Stage, gateway: Gateway, publisher: Publisher, execution: str, reading: int
) -> list[float]:
    crowd, rounds = gateway.crowd, stage.size(8, 1) * _RATE
    begin, seen = time.monotonic(), crowd.events
    del crowd.latencies[:]
    for number in range(rounds):
        await publisher.publish([execution], [message()])
        await asyncio.sleep(begin + (number + 1) / _RATE - time.monotonic())
    await crowd.seen(seen + rounds * reading)
    return list(crowd.latencies)
