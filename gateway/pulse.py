"""How late the event loop is: whatever holds it up holds up every stream.

It measures only; who is told is decided by whoever reads the histogram.
"""

import asyncio

from gateway.metrics import Histogram

INTERVAL = 0.25
"""Seconds between two looks."""


async def measure_loop_lag(lags: Histogram) -> None:
    """Observe in *lags*, for ever, how many seconds late the loop wakes a sleeper."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + INTERVAL
        await asyncio.sleep(INTERVAL)
        lags.observe(max(0.0, loop.time() - due))
