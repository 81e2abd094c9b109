"""How fast streams open, as after a restart: token known, history of 20 events replayed to each."""

import time

from tests.bench.figures import Figure
from tests.bench.stage import Stage


async def play(stage: Stage) -> None:
    """12,000 tabs of 1,500 executions."""
    streams, count = stage.size(12_000, 200), stage.size(1500, 20)
    executions = await stage.executions(count, events=20)
    async with stage.gateway() as gateway:
        await gateway.crowd.open(executions[:10], replayed=20)
        begin, used = time.monotonic(), gateway.cpu
        await gateway.crowd.open((executions[n % count] for n in range(streams)), replayed=20)
        seconds, cost = time.monotonic() - begin, gateway.cpu - used
    stage.add(
        Figure("opening", streams / seconds, "streams/s", least=4000),
        Figure("opening, of the gateway's core", streams / cost, "streams/CPU-s"),
    )
