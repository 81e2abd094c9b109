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

from gateway.app import (
    COMPONENTS,
    RELOADED,
    create_admin_runner,
    create_application,
    create_runner,
)
from gateway.embedded import EmbeddedRedis
from gateway.errors import ConfigurationError
from gateway.listener import BACKLOG, Listeners, listen, url_of
from gateway.log import configure
from gateway.process import tune_gc
from gateway.settings import EMBEDDED_REDIS, Settings, variable
from gateway.systemd import Notifier

log = logging.getLogger(__name__)

LOG_SETTINGS = frozenset({"log_format", "log_level"})
"""Settings of the process, not of a gateway in it; a reload goes by them too."""


class Server:
    """One gateway that listens: `start`, then `stop`."""

    def __init__(self, settings: Settings, application: web.Application | None = None) -> None:
        """*application* defaults to `create_application(settings)`."""
        self._settings = settings
        self._application = application or create_application(settings)
        self._runner = create_runner(self._application, settings)
        self._admin_runner = create_admin_runner(self._application, settings)
        self.url = ""
        """Where the gateway listens, once it does."""
        self.admin_url: str | None = None
        """Where it listens for operators, if it does."""
        self.listeners: Listeners | None = None
        """What it accepts connections on, once it does."""

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return len(self._application[COMPONENTS].hub)

    async def start(self) -> None:
        """Start the background tasks and listen.

        Raises:
            CannotListen: an address is taken or not allowed.
        """
        self.listeners = listeners = listen(self._settings)
        try:
            await self._runner.setup()
            if listeners.admin is not None:
                await self._admin_runner.setup()
                await web.SockSite(self._admin_runner, listeners.admin).start()
            await web.SockSite(self._runner, listeners.main, backlog=BACKLOG).start()
        except BaseException:
            await self.stop()
            listeners.close()
            raise
        self.url = url_of(listeners.main)
        self.admin_url = url_of(listeners.admin) if listeners.admin is not None else None

    @property
    def status(self) -> str:
        """How it goes, in words."""
        reasons = self._application[COMPONENTS].health.status().reasons
        return " ".join([f"{self.streams} streams on {self.url}.", *reasons])

    def watch(self, notifier: Notifier) -> None:
        """Feed the watchdog of systemd for as long as the gateway does what it is there for."""
        components = self._application[COMPONENTS]
        if notifier.is_heard:
            watch = notifier.watch(components.health.stuck, lambda: self.status)
            components.supervisor.start("watchdog", watch)

    def reload(self, settings: Settings) -> list[str]:
        """Go by the keys and limits of *settings* from now on; no stream is touched.

        Returns the settings that differ from those in force and take a restart.

        Raises:
            ConfigurationError: the keys cannot be used, and all stays as it was.
        """
        if settings.redis_url == EMBEDDED_REDIS:
            # Not started anew: the one that runs is meant.
            settings = settings.model_copy(update={"redis_url": self._settings.redis_url})
        self._application[COMPONENTS].reload(settings)
        return [
            variable(name)
            for name in Settings.model_fields.keys() - RELOADED - LOG_SETTINGS
            if getattr(settings, name) != getattr(self._settings, name)
        ]

    async def stop(self) -> None:
        """Accept nothing new, end every stream in good order, and let go of Redis.

        Takes at most the drain time and two seconds. Operators are answered to the end: who asks
        whether the gateway is ready is told that it is stopping.
        """
        await self._runner.cleanup()
        await self._admin_runner.cleanup()


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

    On SIGHUP the settings are read again by *reread*: keys, limits and logging follow them.

    Raises:
        GatewayError: the start cannot go on.
    """
    stopped = stop_signal()
    notifier = Notifier()
    async with reachable_redis(settings) as reachable:
        server = Server(reachable)
        # Before it listens: unhandled, a SIGHUP that comes early would end the process.
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, _reload, server, reread, notifier)
        await server.start()
        tune_gc()
        try:
            server.watch(notifier)
            ready(server, reachable)
            notifier.ready(server.status)
            await stopped.wait()
        finally:
            notifier.stopping("Sending the streams away.")
            await server.stop()


def _reload(server: Server, reread: Callable[[], Settings], notifier: Notifier) -> None:
    notifier.reloading()
    try:
        settings = reread()
        unchanged = server.reload(settings)
    except ConfigurationError as error:
        log.error("Not reloaded, all stays as it was. %s", error)  # noqa: TRY400 - a trace says no more
    else:
        configure(settings.log_format, settings.log_level)
        log.info("Reloaded: keys, limits and logging are those of the settings as they are now.")
        if unchanged:
            log.warning(
                "Changed, but in force only after a restart: %s.", ", ".join(sorted(unchanged))
            )
    if server.url:
        # Else the start is still to come, and will say it.
        notifier.ready(server.status)


def run(
    settings: Settings,
    ready: Callable[[Server, Settings], None],
    reread: Callable[[], Settings],
) -> None:
    """`serve` on an event loop of its own (uvloop, which halves the cost of a small write)."""
    uvloop.run(serve(settings, ready, reread))
