"""Runs the gateway of `gateway.app` as a process: listens, serves until a signal, and drains."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import uvloop
from aiohttp import web

from gateway.access import control
from gateway.app import COMPONENTS, create_admin_runner, create_application, create_runner
from gateway.bus.probe import refuse_wrong_kind
from gateway.errors import ConfigurationError
from gateway.listener import BACKLOG, listen, url_of
from gateway.log import configure
from gateway.process import tune_gc
from gateway.settings import EMBEDDED_REDIS, Settings, variable
from gateway.systemd import Notifier

log = logging.getLogger(__name__)

RELOADED = control.RELOADED | {"max_connections", "log_format", "log_level"}
"""The settings that SIGHUP applies; a change of another one needs a restart."""

QUEUED_DRAIN = 0.5
"""Seconds over which streams are closed at most if systemd holds the socket: a tab that comes back
meanwhile waits in its queue until the next process serves. `retry:` keeps the tabs apart."""


class Server:
    """One gateway that listens: `start`, then `stop`."""

    def __init__(self, settings: Settings, application: web.Application | None = None) -> None:
        """*application* defaults to `create_application(settings)`."""
        self._settings = settings
        self._application = application or create_application(settings)
        self._runner = create_runner(self._application, settings)
        self._admin_runner = create_admin_runner(self._application, settings)
        self.is_started = False
        self.url = ""
        """Where the gateway listens, once it does; a recorder does not."""
        self.admin_url: str | None = None
        """Where it listens for operators, if it does."""

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return len(self._application[COMPONENTS].hub)

    async def start(self) -> None:
        """Start the background tasks and listen.

        Raises:
            CannotListen: an address is taken or not allowed.
        """
        listeners = listen(self._settings)
        try:
            await self._runner.setup()
            if listeners.is_inherited:
                components = self._application[COMPONENTS]
                components.drain_seconds = min(components.drain_seconds, QUEUED_DRAIN)
            if listeners.admin is not None:
                await self._admin_runner.setup()
                await web.SockSite(self._admin_runner, listeners.admin).start()
            if listeners.main is not None:
                await web.SockSite(self._runner, listeners.main, backlog=BACKLOG).start()
        except BaseException:
            await self.stop()
            listeners.close()
            raise
        self.is_started = True
        self.url = url_of(listeners.main) if listeners.main is not None else ""
        self.admin_url = url_of(listeners.admin) if listeners.admin is not None else None

    @property
    def status(self) -> str:
        """One line about streams and problems, for `systemctl status`."""
        reasons = self._application[COMPONENTS].health.status().reasons
        does = f"{self.streams} streams on {self.url}." if self.url else "Recording."
        return " ".join([does, *reasons])

    def watch(self, notifier: Notifier) -> None:
        """Start the task that reports to systemd, if systemd started this process."""
        components = self._application[COMPONENTS]
        if notifier.is_enabled:
            watch = notifier.watch(components.health.stuck, lambda: self.status)
            components.supervisor.start("watchdog", watch)

    def reload(self, reread: Callable[[], Settings]) -> None:
        """Use what *reread* gives, as far as `RELOADED` says; a mistake in it is logged and
        shown in the metrics."""
        metrics = self._application[COMPONENTS].metrics
        metrics.reload_failed = True
        try:
            settings = reread()
            unchanged = self._apply(settings)
        except ConfigurationError as error:
            log.error("Not reloaded, the old settings stay. %s", error)  # noqa: TRY400 - no trace needed
            return
        metrics.reload_failed = False
        configure(settings.log_format, settings.log_level)
        log.info("Reloaded: the new keys, limits and log settings are in use.")
        if self._has_credential_of_the_start(settings):
            log.warning(
                "The secret is the credential jwt_secret, as systemd passed it at the start; a "
                "reload does not renew it. If you have changed it, restart."
            )
        if unchanged:
            log.warning("Changed, but used only after a restart: %s.", ", ".join(sorted(unchanged)))

    def _apply(self, settings: Settings) -> list[str]:
        """Use the keys and limits of *settings* from now on; open streams stay as they are.

        Returns the settings that have changed and need a restart.

        Raises:
            ConfigurationError: the keys cannot be used, and nothing has changed.
        """
        if settings.redis_url == EMBEDDED_REDIS:
            # The server that runs is meant, under its URL.
            settings = settings.model_copy(update={"redis_url": self._settings.redis_url})
        self._application[COMPONENTS].reload(settings)
        return [
            variable(name)
            for name in Settings.model_fields.keys() - RELOADED
            if getattr(settings, name) != getattr(self._settings, name)
        ]

    def _has_credential_of_the_start(self, settings: Settings) -> bool:
        """Whether the secret of *settings* is a credential of systemd that has not changed."""
        directory = os.environ.get("CREDENTIALS_DIRECTORY")
        of_systemd = [file for file in settings.jwt_secret_file if str(file.parent) == directory]
        return bool(of_systemd) and settings.jwt_secret == self._settings.jwt_secret

    async def stop(self) -> None:
        """Accept nothing new, close every stream, and disconnect from Redis.

        Takes at most the drain time and two seconds. The operators' address answers to the end, so
        that `/ready` can say that the gateway is stopping.
        """
        await self._runner.cleanup()
        await self._admin_runner.cleanup()


@asynccontextmanager
async def reachable_redis(settings: Settings) -> AsyncIterator[Settings]:
    """Settings whose `redis_url` names a server: `embedded://` starts one for this block."""
    if settings.redis_url != EMBEDDED_REDIS:
        yield settings
        return
    # Here, since it is for trials alone.
    from gateway.embedded import EmbeddedRedis

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

    On SIGHUP, *reread* reads the settings again, and `RELOADED` are applied.

    Raises:
        GatewayError: the gateway cannot start.
    """
    stopped = stop_signal()
    notifier = Notifier()
    async with reachable_redis(settings) as reachable:
        await refuse_wrong_kind(reachable.redis_url)
        server = Server(reachable)
        # Before it listens: an early SIGHUP would end the process.
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
            notifier.stopping("Closing the streams.")
            await server.stop()


def _reload(server: Server, reread: Callable[[], Settings], notifier: Notifier) -> None:
    notifier.reloading()
    server.reload(reread)
    if server.is_started:
        # Otherwise the start goes on, and reports when it is done.
        notifier.ready(server.status)


def run(
    settings: Settings,
    ready: Callable[[Server, Settings], None],
    reread: Callable[[], Settings],
) -> None:
    """`serve` on a uvloop event loop, which halves the cost of a small write."""
    uvloop.run(serve(settings, ready, reread))
