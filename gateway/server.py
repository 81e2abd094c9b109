"""Runs one gateway as a process does: listens, serves until it is told to stop, and drains.

What it serves is put together in `gateway.app`.
"""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import uvloop
from aiohttp import web

from gateway.app import PARTS, create_application, create_runner
from gateway.dev.embedded import EmbeddedRedis
from gateway.errors import ConfigurationError
from gateway.garbage import calm
from gateway.http.connection import Connections
from gateway.listener import BACKLOG, listen, url_of
from gateway.settings import EMBEDDED_REDIS, Settings

log = logging.getLogger(__name__)


class Server:
    """One gateway that listens: `start`, then `stop`."""

    def __init__(self, settings: Settings, application: web.Application | None = None) -> None:
        """*application* defaults to `create_application(settings)`."""
        self._settings = settings
        self._application = application or create_application(settings)
        connections = Connections(settings.header_timeout_seconds)
        self._runner = create_runner(self._application, connections)
        self.url = ""
        """Where the gateway listens, once it does."""

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return len(self._application[PARTS].hub)

    async def start(self) -> None:
        """Start the background tasks and listen.

        Raises:
            CannotListen: the address is taken or not allowed.
        """
        listener = listen(self._settings)
        try:
            await self._runner.setup()
            await web.SockSite(self._runner, listener, backlog=BACKLOG).start()
        except BaseException:
            listener.close()
            await self._runner.cleanup()
            raise
        self.url = url_of(listener)

    def reload(self, settings: Settings) -> None:
        """Check tokens with the keys of *settings* from now on; no stream is touched.

        Raises:
            ConfigurationError: they cannot be used, and the old ones stay.
        """
        self._application[PARTS].door.reload(settings)

    async def stop(self) -> None:
        """Accept nothing new, end every stream in good order, and let go of Redis.

        Takes at most the drain time and two seconds.
        """
        await self._runner.cleanup()


@asynccontextmanager
async def reachable_redis(settings: Settings) -> AsyncIterator[Settings]:
    """Settings whose `redis_url` names a server: `embedded://` starts one for this block."""
    if settings.redis_url != EMBEDDED_REDIS:
        yield settings
        return
    embedded = await EmbeddedRedis.start()
    try:
        yield settings.model_copy(update={"redis_url": embedded.url})
    finally:
        await embedded.stop()


def stop_signal() -> asyncio.Event:
    """An event that is set by SIGTERM and by Ctrl-C."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stopped.set)
    return stopped


async def serve(
    settings: Settings,
    ready: Callable[[Server, Settings], None],
    reread: Callable[[], Settings],
) -> None:
    """Serve until SIGTERM or SIGINT; *ready* is called once the gateway listens.

    On SIGHUP the settings are read again by *reread*, and the keys in them are used.

    Raises:
        GatewayError: the start cannot go on.
    """
    stopped = stop_signal()
    async with reachable_redis(settings) as reachable:
        server = Server(reachable)
        # Before it listens: unhandled, a SIGHUP that comes early would end the process.
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, _reload, server, reread)
        await server.start()
        calm()
        try:
            ready(server, reachable)
            await stopped.wait()
        finally:
            await server.stop()


def _reload(server: Server, reread: Callable[[], Settings]) -> None:
    try:
        server.reload(reread())
    except ConfigurationError as error:
        log.error("Not reloaded, the old keys stay. %s", error)  # noqa: TRY400 - a trace says no more
    else:
        log.info("Reloaded: tokens are checked with the keys as they are now.")


def run(
    settings: Settings,
    ready: Callable[[Server, Settings], None],
    reread: Callable[[], Settings],
) -> None:
    """`serve` on an event loop of its own (uvloop, which halves the cost of a small write)."""
    uvloop.run(serve(settings, ready, reread))
