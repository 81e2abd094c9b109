"""How long the next start takes for clients after a gateway was killed under 5,000 tabs."""

import asyncio
import time

from tests.bench.figures import Figure
from tests.bench.scenarios.restart import come_back
from tests.bench.stage import Stage

RETRY = (0.2, 0.6)
"""Seconds between two tries of a tab."""


async def play(stage: Stage) -> None:
    """SIGKILL, and one event more for each execution before the next start."""
    tabs, count = stage.size(5000, 100), stage.size(500, 10)
    executions = await stage.executions(count, events=20)
    gateway = await stage.start_gateway()
    crowd, port = gateway.crowd, gateway.port
    await crowd.open((executions[n % count] for n in range(tabs)), replayed=20)
    returning = [asyncio.ensure_future(come_back(tab, *RETRY)) for tab in crowd.tabs]
    try:
        await gateway.kill()
        await stage.record(executions)
        begin = time.monotonic()
        gateway = await stage.start_gateway(port)
        up = time.monotonic() - begin
        await asyncio.wait_for(asyncio.gather(*returning), 60)
        back, cost = time.monotonic() - begin, gateway.cpu
        deadline = time.monotonic() + 10
        while (missing := sum(21 - tab.ids for tab in crowd.tabs)) and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
    finally:
        crowd.close()
        await gateway.stop()
    stage.add(
        Figure("recovery: all tabs are back after", back, "s", most=1.8),
        Figure("recovery: of that until it listens", up, "s"),
        Figure("recovery: of that CPU of the gateway", cost, "s"),
        Figure("recovery: events lost or doubled", abs(missing), "events", most=0),
    )
