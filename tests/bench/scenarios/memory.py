"""What an open stream that is idle costs in memory, and whether any of it stays behind."""

import asyncio

from tests.bench.figures import Figure
from tests.bench.stage import Stage

_REPLAYED = 20
_SETTLED = 14.0
"""Seconds after which what was read of a history is let go of (`gateway.fanout.kept`)."""


async def play(stage: Stage) -> None:
    """15,000 streams of 1,000 executions, and 5,000 of as many; 20 events replayed to each, all
    features on."""
    shared = await _measure(stage, stage.size(15_000, 200), stage.size(1000, 20))
    stage.add(Figure("memory of an idle stream", shared, "KiB", most=3))
    alone = await _measure(stage, stage.size(5000, 50), stage.size(5000, 50))
    stage.add(Figure("the same, alone at its execution", alone, "KiB", most=3))


async def _measure(stage: Stage, streams: int, count: int) -> float:
    """KiB of each of so many *streams* of *count* executions.

    Before that, a tenth of as many executions has as many events: what is kept of them for a while
    (`kept_bytes`) stays in the process when it is let go of, and is used again.
    """
    executions = await stage.executions(count, _REPLAYED)
    warm = await stage.executions(count // 10, 10 * _REPLAYED)
    async with stage.gateway() as gateway:
        await gateway.crowd.open(warm, 10 * _REPLAYED)
        await asyncio.sleep(_SETTLED if stage.full else 0)
        before = gateway.rss
        await gateway.crowd.open((executions[n % count] for n in range(streams)), _REPLAYED)
        await asyncio.sleep(_SETTLED if stage.full else 0)
        return (gateway.rss - before) / streams


async def play_churn(stage: Stage) -> None:
    """Ten rounds of 10,000 tabs that come and go."""
    rounds, tabs = stage.size(10, 2), stage.size(10_000, 100)
    executions = await stage.executions(stage.size(500, 10), _REPLAYED)
    sizes = []
    async with stage.gateway() as gateway:
        for _ in range(rounds):
            await gateway.crowd.open(
                (executions[n % len(executions)] for n in range(tabs)), _REPLAYED
            )
            gateway.crowd.close()
            await asyncio.sleep(_SETTLED if stage.full else 0.1)
            sizes.append(gateway.rss)
    stage.notes.append(
        "memory after each round of churn, MiB: " + " ".join(f"{one / 1024:.1f}" for one in sizes)
    )
    growth = (sizes[-1] / sizes[0] - 1) * 100
    stage.add(Figure("growth by ten rounds of churn", growth, "%", most=5))
