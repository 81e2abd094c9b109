"""Every component of one gateway, built once from the settings and wired together."""

from redis.asyncio import Redis

from gateway import process
from gateway.access.control import AccessControl
from gateway.admin.sources import Sources
from gateway.bus.auditor import Auditor
from gateway.bus.canary import Canary
from gateway.bus.connection import create_redis, server_of
from gateway.bus.drops import Drops
from gateway.bus.epochs import Epochs
from gateway.bus.feed import Feed
from gateway.bus.health import Health
from gateway.bus.history import History
from gateway.bus.pages import Pages
from gateway.bus.presence import Presence
from gateway.bus.probe import Probe
from gateway.bus.questions import Questions
from gateway.bus.recorder import Recorder
from gateway.bus.registry import Registry, UnregisteredWatch
from gateway.bus.subscription import TICK_SECONDS, Subscription
from gateway.bus.trips import Trips
from gateway.contract.scripts import UNREGISTERED_TTL_MS, HistoryLimits
from gateway.events.envelope import EventRules
from gateway.fanout.expiry import Expiry
from gateway.fanout.heartbeat import Heartbeat
from gateway.fanout.hub import Hub, QueueBounds
from gateway.fanout.stalls import StallWatch
from gateway.http.poll_budget import Budget
from gateway.http.run_cache import Documents
from gateway.metrics import Metrics
from gateway.settings import Settings
from gateway.tasks import Supervisor, Tasks
from gateway.ticker import PERIOD, Ticker


class Components:
    """Every component of one gateway, wired together; nothing runs yet."""

    def __init__(self, settings: Settings) -> None:
        self.metrics = Metrics()
        self.supervisor = Supervisor()
        self.ticker = Ticker(self.metrics.loop_lag, self.metrics.failures)
        self.redis = create_redis(settings.redis_url, max_connections=settings.redis_pool_size)
        self.questions = Questions(self.redis, self.ticker)
        self.trips = Trips(self.redis)
        self.registry = Registry(self.redis, self.trips)
        self.history = History(self.redis, self.trips)
        self.rules = EventRules(settings.endings, settings.event_max_bytes)
        self._build_streams(settings)
        self._build_feed(settings)
        self.polls = Budget(settings.most_poll_bytes)
        self.documents = Documents(
            self.history,
            self.polls,
            self.metrics,
            seconds=settings.poll_seconds,
            most_bytes=settings.history_max_bytes,
            most_events=settings.history_max_events,
            rules=self.rules,
        )
        self.feed.on_forgotten = self.documents.drop
        self.access = AccessControl(settings, self.redis, self.registry, self.ticker, self.trips)
        self.health = Health(
            self.supervisor,
            self.ticker,
            self.subscription,
            self.canary,
            self.feed,
            self.recorder,
            self.probe,
            lambda: self.access.keys_problem,
        )
        self.hub.admit = self.access.policy.admit
        self.presence.on_storage_lost = self.access.storage_lost
        self._register()

    def _build_streams(self, settings: Settings) -> None:
        """What open streams need."""
        self.pages = Pages(self.history, self.metrics, self.rules)
        self.stalls = StallWatch(settings.write_timeout_seconds)
        self.hub = Hub(
            self.pages,
            QueueBounds(settings.queue_events, settings.queue_bytes),
            self.metrics,
            stalls=self.stalls,
            kept_bytes=settings.kept_bytes,
            max_subscribers=process.most_streams(settings),
        )
        self.auditor = Auditor(self.history, self.hub)
        self.heartbeat = Heartbeat(
            settings.heartbeat_seconds, settings.max_stream_seconds, self.auditor.silent
        )
        self.expiry = Expiry()
        self.hub.on_left = self.expiry.remove

    def _build_feed(self, settings: Settings) -> None:
        """What brings events, and tells whether they come."""
        self.canary = Canary(settings.channel_prefix)
        self.subscription = Subscription(
            self.redis, settings.channel_prefix, self.metrics, self.canary
        )
        self.subscription.on_confirmed = self._subscribed
        self.subscription.may_read_old = self._records
        watched, limits = settings.ownership == "registry", _limits(settings)
        self.unregistered = UnregisteredWatch(self.registry, limits=limits) if watched else None
        self.recorder = _recorder(settings, self.redis, self.metrics)
        self.drops = Drops(self.redis, self.metrics)
        self.epochs = Epochs(self.redis)
        self.presence = Presence(
            self.canary.instance, settings, self.metrics, lambda: len(self.hub.executions)
        )
        self.probe = Probe()
        if self.recorder is not None:
            self.probe.on_recorded = self.recorder.records_again
        self.feed = Feed(
            self.subscription,
            self.hub,
            self.canary,
            self.metrics,
            settings.channel_prefix,
            self.rules,
            self.epochs,
            self.drops,
            self.recorder,
            self.unregistered.note_events if self.unregistered else None,
        )

    def _register(self) -> None:
        """What is called or asked regularly; ARCHITECTURE.md describes each."""
        every = self.ticker.every
        every(self.heartbeat.tick_seconds, "heartbeat", self.heartbeat.tick)
        every(self.stalls.tick_seconds, "stall watch", self.stalls.tick)
        every(PERIOD, "expiry", self.expiry.tick)
        every(PERIOD, "kept events", self.hub.kept.tick)
        every(TICK_SECONDS, "silence watch", self.subscription.tick)
        server = server_of(self.redis)
        server.is_another = self.subscription.check_server
        server.on_doubt = lambda: self.ticker.start("server watch", server.tick)
        every(server.tick_seconds, "server watch", server.tick)
        if (watch := self.unregistered) is not None:
            every(watch.tick_seconds, "unregistered watch", watch.tick)
        self.questions.add("canary", self.canary.questions)
        self.questions.add("probe", self.probe.questions)
        self.questions.add("presence", self.presence.questions)
        self.access.revocations.watch(self.hub, self.ticker, self.questions)
        self.questions.add("auditor", self.auditor.questions)

    def _records(self) -> bool:
        return self.recorder is not None and self.recorder.refusal is None

    def _subscribed(self) -> None:
        self.hub.subscribed()
        self.auditor.subscribed()
        self.presence.look_now()
        # A new subscription needs a canary to be healthy.
        self.questions.send_now()

    def tasks(self) -> Tasks:
        """The background tasks in start order; ARCHITECTURE.md describes each."""
        return {
            "feed": self.feed.run,
            "subscription": self.subscription.run,
            "ticker": self.ticker.run,
            **self.access.tasks(),
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
            self.drops,
            self.presence,
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
        await self.ticker.stop()
        await self.presence.leave(self.redis)
        await self.hub.stop()
        await self.trips.stop()
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
