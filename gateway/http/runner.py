"""aiohttp's runner with the gateway's own connections, for `serve` and for Gunicorn."""

from typing import cast

from aiohttp import web

from gateway.http.connection import Connections, ProtocolFactory
from gateway.ticker import Ticker

FORCED_AFTER = 0.5
"""Seconds that a request or a stream has after the drain before its connection is cut."""


class Runner(web.AppRunner):
    """Runs *application*; each connection that its sites accept is one of *connections*."""

    def __init__(
        self,
        application: web.Application,
        connections: Connections,
        ticker: Ticker,
        watch: str,
    ) -> None:
        """*ticker* has connections without a request cut, by a function named *watch*."""
        super().__init__(
            application,
            # Not aiohttp's default: cancel a handler whose client has left.
            handler_cancellation=True,
            shutdown_timeout=FORCED_AFTER,
        )
        self._connections = connections
        self._ticker = ticker
        self._watch = watch
        self._factory: ProtocolFactory | None = None

    async def setup(self) -> None:
        """Start the application, and begin to cut connections."""
        await super().setup()
        server = super().server
        assert server is not None  # noqa: S101 - for the type checker: `setup` has made it
        self._factory = ProtocolFactory(server, self._connections)
        self._ticker.every(self._connections.tick_seconds, self._watch, self._connections.tick)

    async def shutdown(self) -> None:
        """Called by `cleanup`, once nothing more is accepted: end the streams, then wait for
        requests of new connections, so that a restart loses none."""
        await super().shutdown()
        await self._connections.wait_idle(FORCED_AFTER)

    @property
    def server(self) -> web.Server | None:
        """What makes the protocol of each connection; None before `setup`.

        aiohttp's own would make connections with only aiohttp's limits. Sites only call it, and
        Gunicorn's worker reads its count.
        """
        return cast(web.Server, self._factory)
