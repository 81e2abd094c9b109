"""What a gateway costs that has nothing to do: wake-ups, and its CPU beside a bare loop."""

import asyncio
import os

from tests.bench.figures import Figure
from tests.bench.processes import python
from tests.bench.stage import Gateway, Stage
from tests.harness.proc import cpu_seconds, wakeups

_BARE = """
import asyncio

async def main():
    while True:
        await asyncio.sleep(0.1)

asyncio.run(main())
"""


async def play(stage: Stage) -> None:
    """Without a stream, then with 1,000 quiet ones, each beside a loop that wakes ten times a
    second, on the same core at the same time."""
    streams = stage.size(1000, 50)
    executions = await stage.executions(streams)
    bare = await asyncio.create_subprocess_exec(
        *python("-c", _BARE), preexec_fn=lambda: os.sched_setaffinity(0, {stage.core})
    )
    try:
        async with stage.gateway() as gateway:
            await _measure(stage, gateway, bare.pid, "nothing to do", 10)
            await gateway.crowd.open(executions)
            await _measure(stage, gateway, bare.pid, f"{streams} quiet streams", 15)
    finally:
        bare.kill()
        await bare.wait()


async def _measure(stage: Stage, gateway: Gateway, bare: int, what: str, most: float) -> None:
    # What was new is done, and heartbeats come evenly.
    await asyncio.sleep(stage.size(5, 1))
    seconds = stage.size(20, 2)
    woken, cost, bare_cost = wakeups(gateway.pid), gateway.cpu, cpu_seconds(bare)
    await asyncio.sleep(seconds)
    woken, cost = wakeups(gateway.pid) - woken, gateway.cpu - cost
    ratio = cost / (cpu_seconds(bare) - bare_cost)
    stage.add(
        Figure(f"wake-ups, {what}", woken / seconds, "/s", most=most),
        Figure(f"CPU, {what}", cost / seconds * 1000, "ms/s"),
        Figure(f"CPU, {what} / bare loop", ratio, "x", most=2.5 if most == 10 else None),
    )
