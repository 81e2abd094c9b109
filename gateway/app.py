"""Assembles the gateway: builds every part once and wires them together.

Nothing here decides anything about events or requests; it is the one place that knows all rooms.
It does not listen: that is `gateway.server`, or Gunicorn, whose workers call `create_app`.
"""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

from aiohttp import web
from redis.asyncio import Redis

from gateway import process
from gateway.access import control
from gateway.admin.exposition import Sources
from gateway.admin.routes import create_admin
from gateway.bus.auditor import Auditor
from gateway.bus.canary import Canary
from gateway.bus.connection import create_redis, master_of
from gateway.bus.feed import Feed, Rules
from gateway.bus.health import Health
from gateway.bus.history import History
from gateway.bus.pages import Pages
from gateway.bus.recorder import Recorder
from gateway.bus.registry import Registry, UnregisteredWatch
from gateway.bus.subscription import Subscription
from gateway.contract.scripts import UNREGISTERED_TTL_MS, HistoryLimits
from gateway.errors import ConfigurationError
from gateway.fanout.expiry import Expiry
from gateway.fanout.heartbeat import Heartbeat
from gateway.fanout.hub import Hub, QueueBounds
from gateway.fanout.stalls import StallWatch
from gateway.http.access_log import access_log
from gateway.http.connection import Connections, Room
from gateway.http.nothing_here import add_nothing_here
from gateway.http.poll_budget import Budget
from gateway.http.request_limits import MAX_BODY_BYTES, request_limits_middleware
from gateway.http.responses import error_middleware
from gateway.http.routes import TicketHandler, add_cors, add_routes, health_handler
from gateway.http.run_answer import Answers
from gateway.http.run_documents import Documents
from gateway.http.runner import FORCED_AFTER, Runner
from gateway.http.runs import RunsHandler
from gateway.http.static import add_page, client_handler
from gateway.http.stream import StreamHandler
from gateway.listener import set_options
from gateway.log import configure
from gateway.metrics import Metrics
from gateway.process import (
    OPERATOR_FILES,
    REQUEST_FILES,
    file_limit,
    most_streams,
    other_files,
    raise_file_limit,
    tune_gc,
)
from gateway.settings import EMBEDDED_REDIS, Settings, load
from gateway.tasks import Supervisor

log = logging.getLogger(__name__)

RELOADED = control.RELOADED | {"max_connections"}
"""The settings that `Parts.reload` goes by; every other one takes a restart."""


class Components:
    """Every part of one gateway, wired together; nothing runs yet."""

    def __init__(self, settings: Settings) -> None:
        self.metrics = Metrics()
        self.supervisor = Supervisor()
        self.redis = create_redis(settings.redis_url, max_connections=settings.redis_pool_size)
        self.history = History(self.redis)
        self.pages = Pages(self.redis, self.history, self.metrics)
        self.stalls = StallWatch(settings.write_timeout_seconds)
        self.hub = Hub(
            self.pages,
            QueueBounds(settings.queue_events, settings.queue_bytes),
            self.metrics,
            stalls=self.stalls,
            kept_bytes=settings.kept_bytes,
            max_subscribers=most_streams(settings),
        )
        self.subscription = Subscription(self.redis, settings.channel_prefix, self.metrics)
        self.canary = Canary(self.redis, settings.channel_prefix)
        self.polls = Budget(settings.most_poll_bytes)
        self.documents = Documents(
            self.history,
            self.polls,
            self.metrics,
            seconds=settings.poll_seconds,
            most_bytes=settings.history_max_bytes,
            most_events=settings.history_max_events,
        )
        self.auditor = Auditor(self.history, self.hub)
        self.subscription.on_confirmed = self._subscribed
        self.subscription.canary_channel = self.canary.channel.encode()
        self.subscription.canaries = lambda: self.canary.published_in_all
        self.subscription.may_read_old = self._records
        self.heartbeat = Heartbeat(
            settings.heartbeat_seconds, settings.max_stream_seconds, self.auditor.silent
        )
        self.registry = Registry(self.redis)
        self.unregistered = (
            UnregisteredWatch(self.registry, limits=_limits(settings))
            if settings.ownership == "registry"
            else None
        )
        self.recorder = _recorder(settings, self.redis, self.metrics)
        self.feed = Feed(
            self.subscription,
            self.hub,
            self.canary,
            self.metrics,
            _rules(settings),
            self.recorder,
            self.unregistered.note_events if self.unregistered else None,
        )
        self.health = Health(
            self.supervisor, self.subscription, self.canary, self.feed, self.recorder
        )
        self.expiry = Expiry()
        self.access = control.AccessControl(settings, self.redis, self.registry)
        self.hub.admit = self.access.policy.admit
        self.hub.on_left = self.expiry.remove

    def _records(self) -> bool:
        return self.recorder is not None and self.recorder.problem is None

    def _subscribed(self) -> None:
        self.hub.subscribed()
        self.auditor.subscribed()
        self.canary.publish_now()

    def components(self) -> dict[str, Callable[[], Coroutine[Any, Any, None]]]:
        """What runs in the background, by name, in the order in which it is started; the table in
        ARCHITECTURE.md is this list."""
        master = master_of(self.redis)
        return {
            "feed": self.feed.run,
            "subscription": self.subscription.run,
            "canary": self.canary.run,
            **({"recorder": self.recorder.run} if self.recorder is not None else {}),
            **({"master watch": master.run} if master is not None else {}),
            "auditor": self.auditor.run,
            "heartbeat": self.heartbeat.run,
            "stall watch": self.stalls.run,
            "expiry": self.expiry.run,
            "pulse": partial(process.measure_loop_lag, self.metrics.loop_lag),
            **self.access.components(self.hub),
            **({"unregistered watch": self.unregistered.run} if self.unregistered else {}),
        }

    def start(self) -> None:
        """Start every background task."""
        for name, run in self.components().items():
            self.supervisor.start(name, run())

    @property
    def sources(self) -> Sources:
        """What operators may ask about."""
        return Sources(
            self.metrics,
            self.hub,
            self.health,
            self.subscription,
            self.canary,
            self.supervisor,
            self.polls,
        )

    def reload(self, settings: Settings) -> None:
        """Go by the keys and limits of *settings* from now on; no stream is touched.

        Raises:
            ConfigurationError: the keys cannot be used, and all stays as it was.
        """
        self.access.reload(settings)
        self.hub.max_subscribers = most_streams(settings)

    async def stop(self) -> None:
        """End what streams are left, stop every background task and close the connections."""
        await self.hub.cut()
        await self.supervisor.stop()
        await self.hub.stop()
        await self.pages.stop()
        await self.history.stop()
        await self.registry.stop()
        await self.access.stop()
        await self.redis.aclose()
        await self.redis.connection_pool.disconnect()


COMPONENTS: web.AppKey[Components] = web.AppKey("parts", Components)


def create_application(settings: Settings) -> web.Application:
    """The aiohttp application; its background tasks run from its start-up to its clean-up."""
    components = Components(settings)
    application = web.Application(
        middlewares=[
            error_middleware(components.metrics),
            request_limits_middleware(settings.header_timeout_seconds),
        ],
        client_max_size=MAX_BODY_BYTES,
    )
    application[COMPONENTS] = components
    stream = StreamHandler(
        components.access.policy,
        components.access.quota,
        settings.trusted_proxies,
        components.hub,
        components.subscription,
        components.heartbeat,
        components.expiry,
        settings.ownership_wait_seconds,
    )
    runs = RunsHandler(
        components.access.policy,
        components.access.quota,
        components.registry,
        components.documents,
        Answers(components.polls, components.stalls, settings.poll_seconds, components.metrics),
    )
    tickets = TicketHandler(
        components.access.policy, components.access.quota, components.access.tickets
    )
    add_routes(
        application,
        stream=stream.handle,
        ticket=tickets.handle,
        runs=runs.handle,
        health=health_handler(components.health),
        client=client_handler(),
    )
    add_cors(application, settings.cors_origins, settings.cors_credentials)
    if settings.page:
        add_page(application)
    add_nothing_here(application)
    application.cleanup_ctx.append(_running)
    application.on_shutdown.append(partial(_send_away, seconds=settings.drain_seconds))
    return application


async def create_app() -> web.AppRunner:
    """A gateway for Gunicorn's aiohttp workers, which accept for it; its settings stand in the
    environment, and where it listens in Gunicorn's own.

    Raises:
        ConfigurationError: with every mistake.
    """
    settings = load()
    if settings.redis_url == EMBEDDED_REDIS:
        raise ConfigurationError(
            [f"REDIS_URL: {EMBEDDED_REDIS} is for one process alone; name a Redis of all workers."]
        )
    configure(settings.log_format, settings.log_level)
    # Who stands before several workers has one; theirs would be mixed.
    access_log.setLevel(logging.WARNING)
    raise_file_limit()
    tune_gc()
    return create_runner(
        create_application(settings), settings, partial(set_options, settings=settings)
    )


def create_admin_runner(application: web.Application, settings: Settings) -> web.AppRunner:
    """What runs the admin application of *application*, one of `create_application`."""
    components = application[COMPONENTS]
    connections = Connections(
        settings.header_timeout_seconds, room=Room(OPERATOR_FILES, streams=lambda: 0)
    )
    admin = create_admin(components.sources, settings.admin_hosts)
    return Runner(admin, connections, components.supervisor, "operators' header watch")


def create_runner(
    application: web.Application,
    settings: Settings,
    set_options: Callable[[socket.socket], None] | None = None,
) -> web.AppRunner:
    """What runs *application*, one of `create_application`: give it a site to listen on.

    *set_options*: see `Connections`.
    """
    components = application[COMPONENTS]
    most = file_limit() - other_files(settings) + REQUEST_FILES
    connections = Connections(
        settings.header_timeout_seconds,
        set_options=set_options,
        room=Room(max(1, most), components.hub.__len__),
        metrics=components.metrics,
    )
    return Runner(application, connections, components.supervisor, "header watch")


async def _running(application: web.Application) -> AsyncIterator[None]:
    application[COMPONENTS].start()
    yield
    await application[COMPONENTS].stop()


async def _send_away(application: web.Application, seconds: float) -> None:
    """End every stream in good order, once nothing new is accepted: takes at most *seconds* and
    `FORCED_AFTER`."""
    hub = application[COMPONENTS].hub
    log.info("Stopping: %d streams are sent away.", len(hub))
    # Every reader is told to come back, spread over the time: they come to another process.
    await hub.drain(seconds)
    # Let the last bytes out; a reader that does not take them is cut off by `Parts.stop`.
    with suppress(TimeoutError):
        async with asyncio.timeout(FORCED_AFTER):
            await hub.empty()


def _rules(settings: Settings) -> Rules:
    terminal_types = frozenset(settings.terminal_types)
    return Rules(settings.channel_prefix, terminal_types, settings.event_max_bytes)


def _recorder(settings: Settings, redis: Redis, metrics: Metrics) -> Recorder | None:
    if not settings.record_bare_events:
        return None
    # Under any other ownership no execution is ever registered.
    unregistered_ttl_ms = UNREGISTERED_TTL_MS if settings.ownership == "registry" else 0
    return Recorder(redis, _limits(settings), settings.terminal_types, metrics, unregistered_ttl_ms)


def _limits(settings: Settings) -> HistoryLimits:
    return HistoryLimits(
        settings.history_max_events,
        settings.history_max_bytes,
        int(settings.open_ttl_seconds * 1000),
        int(settings.history_ttl_seconds * 1000),
    )
