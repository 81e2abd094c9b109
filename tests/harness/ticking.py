"""A ticker that runs while a test does."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.metrics import Metrics
from gateway.tasks import Supervisor
from gateway.ticker import Function, Ticker


@asynccontextmanager
async def ticking(seconds: float = 0.0, function: Function | None = None) -> AsyncIterator[Ticker]:
    """A ticker that calls *function* every so many *seconds*, and with it what is registered in the
    block; nothing may fail."""
    supervisor = Supervisor()
    failed: Counter[str] = Counter()
    ticker = Ticker(Metrics().loop_lag, failed)
    if function is not None:
        ticker.every(seconds, "function of the test", function)
    supervisor.start("ticker", ticker.run())
    try:
        yield ticker
        assert not failed, failed
        assert not supervisor.failures
    finally:
        await supervisor.stop()
        await ticker.stop()
