"""A ticker that runs while a test does."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.metrics import Metrics
from gateway.tasks import Supervisor
from gateway.ticker import Function, Ticker

NAME = "function of the test"


@asynccontextmanager
async def ticking(
    seconds: float = 0.0, function: Function | None = None, failed: Counter[str] | None = None
) -> AsyncIterator[Ticker]:
    """A ticker that calls *function* every so many *seconds*, and with it what is registered in the
    block; in the end nothing may fail. *failed* counts what has failed."""
    supervisor = Supervisor()
    ticker = Ticker(Metrics().loop_lag, Counter() if failed is None else failed)
    if function is not None:
        ticker.every(seconds, NAME, function)
    supervisor.start("ticker", ticker.run())
    try:
        yield ticker
        assert not ticker.failures
        assert not supervisor.failures
    finally:
        await supervisor.stop()
        await ticker.stop()
