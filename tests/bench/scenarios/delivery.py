"""What it costs to deliver one event to one of 1,000 tabs of one execution, next to the floor."""

import asyncio
import time

from tests.bench.figures import Figure
from tests.bench.messages import message
from tests.bench.processes import is_floor_in_c
from tests.bench.stage import Stage

_RATE = 20
"""Rounds in a second."""


async def play(stage: Stage) -> None:
    """Single events, 20 a second."""
    floor, cost = await _measure(stage, together=1, seconds=stage.size(10, 1))
    written = await stage.uvloop_floor(stage.size(1000, 50))
    stage.add(
        Figure("floor: one send()", floor * 1e6, "us CPU"),
        Figure("floor: one write() of uvloop", written * 1e6, "us CPU"),
        Figure("delivery of one event to one tab", cost * 1e6, "us CPU"),
        Figure("delivery / floor", cost / floor, "x", most=1.6 if is_floor_in_c() else 1.15),
    )


async def play_bursts(stage: Stage) -> None:
    """Bursts of 20 events, each PUBLISHed by itself, in one pipeline."""
    floor, cost = await _measure(stage, together=20, seconds=stage.size(10, 1))
    most = 0.25 if is_floor_in_c() else 0.15
    stage.add(
        Figure("delivery in bursts of 20", cost * 1e6, "us CPU"),
        Figure(
            "delivery in bursts of 20 / floor",
            cost / floor,
            "x",
            most=most,
        ),
    )


async def _measure(stage: Stage, together: int, seconds: int) -> tuple[float, float]:
    """CPU seconds of a `send()`, and of one event to one tab."""
    count = stage.size(1000, 50)
    before = await stage.floor(count)
    [execution] = await stage.executions(1, events=1)
    async with stage.gateway() as gateway:
        crowd = gateway.crowd
        await crowd.open([execution] * count, replayed=1)
        publisher = await stage.publisher()
        rounds = seconds * _RATE if together == 1 else seconds * 2
        begin, used, seen = time.monotonic(), gateway.cpu, crowd.events
        for number in range(rounds):
            await publisher.publish([execution] * together, [message() for _ in range(together)])
            await asyncio.sleep(begin + (number + 1) * seconds / rounds - time.monotonic())
        expected = rounds * together * count
        await crowd.seen(seen + expected)
        cost = (gateway.cpu - used) / expected
        await publisher.close()
    return (before + await stage.floor(count)) / 2, cost
