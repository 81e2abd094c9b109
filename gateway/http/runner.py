"""aiohttp's runner with the gateway's own connections, whoever listens: `serve`, or Gunicorn.

It runs an application and stops it; what happens to open streams then is the application's matter.
"""

from typing import cast

from aiohttp import web

from gateway.http.access_log import AccessLogger, access_log, server_log
from gateway.http.connection import Connections, ProtocolFactory
from gateway.tasks import Supervisor

FORCED_AFTER = 0.5
"""Seconds that are left to a request or a stream, after the drain, before its connection is cut."""


class Runner(web.AppRunner):
    """Runs *application*; each connection that its sites accept is one of *connections*."""

    def __init__(
        self,
        application: web.Application,
        connections: Connections,
        supervisor: Supervisor,
        watch: str,
    ) -> None:
        """*supervisor* keeps the task, called *watch*, that cuts connections which bring no
        request."""
        super().__init__(
            application,
            # aiohttp does not cancel a handler whose reader has left unless told to.
            handler_cancellation=True,
            shutdown_timeout=FORCED_AFTER,
            access_log_class=AccessLogger,
            access_log=access_log,
            logger=server_log,
        )
        self._connections = connections
        self._supervisor = supervisor
        self._watch = watch
        self._accepting: ProtocolFactory | None = None

    async def setup(self) -> None:
        """Start the application, and watch over its connections."""
        await super().setup()
        server = super().server
        assert server is not None  # noqa: S101 - for the type checker: `setup` has made it
        self._accepting = ProtocolFactory(server, self._connections)
        self._supervisor.start(self._watch, self._connections.run())

    async def shutdown(self) -> None:
        """Called by `cleanup`, once nothing more is accepted: end the streams, and hear whoever was
        accepted just before, so that a restart breaks no request off."""
        await super().shutdown()
        await self._connections.wait_idle(FORCED_AFTER)

    @property
    def server(self) -> web.Server | None:
        """What makes the protocol of each connection; None before `setup`.

        aiohttp's own would make connections that know no limits but aiohttp's. Sites only call it,
        and the Gunicorn worker reads its count.
        """
        return cast(web.Server, self._accepting)
