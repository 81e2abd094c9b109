"""Every component of one gateway, built once from the settings and wired together."""

from functools import partial

from redis.asyncio import Redis

from gateway import process
from gateway.access.control import AccessControl
from gateway.admin.exposition import Sources
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
from gateway.fanout.expiry import Expiry
from gateway.fanout.heartbeat import Heartbeat
from gateway.fanout.hub import Hub, QueueBounds
from gateway.fanout.stalls import StallWatch
from gateway.http.poll_budget import Budget
from gateway.http.run_cache import Documents
from gateway.metrics import Metrics
from gateway.settings import Settings
from gateway.tasks import Supervisor, Tasks


class Components:
    """Every component of one gateway, wired together; nothing runs yet."""

    def __init__(self, settings: Settings) -> None:
        self.metrics = Metrics()
        self.supervisor = Supervisor()
        self.redis = create_redis(settings.redis_url, max_connections=settings.redis_pool_size)
        self.history = History(self.redis)
        self.pages = Pages(self.redis, self.history, self.metrics, settings.endings)
        self.stalls = StallWatch(settings.write_timeout_seconds)
        self.hub = Hub(
            self.pages,
            QueueBounds(settings.queue_events, settings.queue_bytes),
            self.metrics,
            stalls=self.stalls,
            kept_bytes=settings.kept_bytes,
            max_subscribers=process.most_streams(settings),
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
            terminal_types=settings.endings,
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
        watched, limits = settings.ownership == "registry", _limits(settings)
        self.unregistered = UnregisteredWatch(self.registry, limits=limits) if watched else None
        self.recorder = _recorder(settings, self.redis, self.metrics)
        self.feed = Feed(
            self.subscription,
            self.hub,
            self.canary,
            self.metrics,
            Rules(settings.channel_prefix, settings.endings, settings.event_max_bytes),
            self.recorder,
            self.unregistered.note_events if self.unregistered else None,
        )
        self.health = Health(
            self.supervisor, self.subscription, self.canary, self.feed, self.recorder
        )
        self.expiry = Expiry()
        self.access = AccessControl(settings, self.redis, self.registry)
        self.hub.admit = self.access.policy.admit
        self.hub.on_left = self.expiry.remove

    def _records(self) -> bool:
        return self.recorder is not None and self.recorder.problem is None

    def _subscribed(self) -> None:
        self.hub.subscribed()
        self.auditor.subscribed()
        self.canary.publish_now()

    def tasks(self) -> Tasks:
        """The background tasks in start order; ARCHITECTURE.md describes each."""
        master = master_of(self.redis)
        return {
            "feed": self.feed.run,
            "subscription": self.subscription.run,
            "canary": self.canary.run,
            **({"recorder": self.recorder.run} if self.recorder else {}),
            **({"master watch": master.run} if master else {}),
            "auditor": self.auditor.run,
            "heartbeat": self.heartbeat.run,
            "stall watch": self.stalls.run,
            "expiry": self.expiry.run,
            "loop lag": partial(process.measure_loop_lag, self.metrics.loop_lag),
            **self.access.tasks(self.hub),
            **({"unregistered watch": self.unregistered.run} if self.unregistered else {}),
        }

    @property
    def sources(self) -> Sources:
        """What the operators' address shows."""
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
        """Use the keys and limits of *settings* from now on; open streams stay as they are.

        Raises:
            ConfigurationError: the keys cannot be used, and nothing has changed.
        """
        self.access.reload(settings)
        self.hub.max_subscribers = process.most_streams(settings)

    async def stop(self) -> None:
        """Close the streams that are left, stop every background task, disconnect from Redis."""
        await self.hub.cut()
        await self.supervisor.stop()
        await self.hub.stop()
        await self.pages.stop()
        await self.history.stop()
        await self.registry.stop()
        await self.access.stop()
        await self.redis.aclose()


def _recorder(settings: Settings, redis: Redis, metrics: Metrics) -> Recorder | None:
    if not settings.record_bare_events:
        return None
    # Under another ownership no execution is ever registered.
    unregistered_ttl_ms = UNREGISTERED_TTL_MS if settings.ownership == "registry" else 0
    return Recorder(
        redis,
        _limits(settings),
        settings.endings,
        metrics,
        unregistered_ttl_ms,
        settings.restart_types,
    )


def _limits(settings: Settings) -> HistoryLimits:
    return HistoryLimits(
        settings.history_max_events,
        settings.history_max_bytes,
        int(settings.open_ttl_seconds * 1000),
        int(settings.history_ttl_seconds * 1000),
    )
