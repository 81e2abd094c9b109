"""Sees, without a write, when REDIS_URL leads to another server than that of the subscription."""

from collections.abc import Callable
from contextlib import suppress

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection

from gateway.bus import sentinel
from gateway.bus.errors import REDIS_ERRORS
from gateway.bus.sentinel import MasterPool
from gateway.bus.server import Identity, ServerPool, identify
from gateway.ticker import Ticker

INTERVAL = 2.0
"""Seconds between two looks at where the name leads."""

NAME = "server watch"


def watch_server(redis: Redis, ticker: Ticker, is_another: Callable[[Identity], bool]) -> None:
    """Have *ticker* see when another server has to be used; *is_another*: see `ServerWatch`."""
    pool = redis.connection_pool
    if isinstance(pool, MasterPool):
        ticker.every(sentinel.INTERVAL, NAME, pool.server.tick)
        return
    assert isinstance(pool, ServerPool)  # noqa: S101 - for the type checker
    watch = ServerWatch(pool, is_another)
    ticker.every(INTERVAL, NAME, watch.tick)
    pool.server.on_doubt = lambda: ticker.start(NAME, watch.tick)


class ServerWatch:
    """Sees when the name leads to another server than the subscription's; `tick` is to be called
    every `INTERVAL`, and after an answer of a wrong server."""

    def __init__(self, pool: ServerPool, is_another: Callable[[Identity], bool]) -> None:
        """*is_another*: given the server where the name leads now, begins the subscription again
        and says so where that is another one."""
        self._pool = pool
        self._is_another = is_another

    async def tick(self) -> None:
        """Look where the name leads."""
        # What is wrong with a server that cannot be asked, health says.
        with suppress(*REDIS_ERRORS):
            if self._is_another(await self._look()):
                self._pool.server.moves += 1

    async def _look(self) -> Identity:
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            await connection.connect()
            return await identify(connection)
        finally:
            await connection.disconnect(nowait=True)
