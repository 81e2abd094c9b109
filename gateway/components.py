"""Every component of one gateway, built once from the settings and wired together."""

from collections.abc import Callable

from gateway import process
from gateway.access.control import AccessControl
from gateway.admin.sources import Sources
from gateway.bus.auditor import Auditor
from gateway.bus.connection import create_redis
from gateway.bus.feed import Feed
from gateway.bus.health import Health
from gateway.bus.history import History
from gateway.bus.index import Index
from gateway.bus.intake import Intake
from gateway.bus.pages import Pages
from gateway.bus.presence import Presence
from gateway.bus.publishing import Publishing
from gateway.bus.questions import questions_of
from gateway.bus.registry import Registry
from gateway.bus.trips import Trips
from gateway.bus.watching import Watching
from gateway.contract.scripts import HistoryLimits
from gateway.events.envelope import EventRules
from gateway.fanout.expiry import Expiry
from gateway.fanout.heartbeat import Heartbeat
from gateway.fanout.hub import Hub, QueueBounds
from gateway.fanout.stalls import StallWatch
from gateway.http.poll_budget import Budget
from gateway.http.run_cache import Documents
from gateway.lists.lists import Lists
from gateway.metrics import Metrics
from gateway.otel import tracing_from_environment
from gateway.settings import Settings
from gateway.tasks import Supervisor, Tasks
from gateway.ticker import PERIOD, Ticker


class Components:
    """Every component of one gateway, wired together; nothing runs yet."""

    def __init__(self, settings: Settings) -> None:
        self.drain_seconds = settings.drain_seconds
        """Over how many seconds streams are closed at the end."""
        self.is_recorder = settings.is_recorder
        """It serves no streams, and checks no tokens."""
        self.metrics = Metrics()
        self.supervisor = Supervisor()
        self.ticker = Ticker(self.metrics.loop_lag, self.metrics.failures)
        self.redis = create_redis(settings.redis_url, max_connections=settings.redis_pool_size)
        self.questions = questions_of(self.redis, self.ticker)
        self.trips = Trips(self.redis)
        self.registry = Registry(self.redis, self.trips)
        self.tracing = tracing_from_environment()
        history: Callable[..., History] = self.tracing.history if self.tracing else History
        self.history = history(self.redis, self.trips)
        self.rules = EventRules(settings.endings, settings.event_max_bytes)
        limits = _limits(settings)
        self._build_streams(settings)
        self._build_intake(settings, limits)
        self._build_polls(settings)
        self.access = AccessControl(settings, self.redis, self.registry, self.ticker, self.trips)
        self.publishing = Publishing(
            self.redis,
            settings.channel_prefix,
            limits,
            self.metrics,
            settings.publishes_to,
        )
        self._build_lists(settings, limits)
        self.health = Health(
            self.supervisor,
            self.ticker,
            self.intake,
            lambda: None if settings.is_recorder else self.access.keys_problem,
        )
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
            settings.heartbeat_seconds,
            settings.max_stream_seconds,
            self.auditor.silent,
            lambda: self.health.status().redis_connected,
        )
        self.expiry = Expiry()
        self.hub.on_left = self.expiry.remove

    def _build_intake(self, settings: Settings, limits: HistoryLimits) -> None:
        """What hears events, and tells the other gateways that it does."""
        feed: Callable[..., Feed] = self.tracing.feed if self.tracing else Feed
        self.intake = Intake(
            settings,
            self.redis,
            self.hub,
            self.auditor,
            self.questions,
            self.registry,
            self.metrics,
            self.rules,
            limits,
            feed,
        )
        self.subscription = self.intake.subscription
        self.canary = self.intake.canary
        self.feed = self.intake.feed
        self.presence = Presence(
            self.canary.instance,
            settings,
            self.metrics,
            lambda: len(self.hub.executions),
            self.redis,
        )
        self.watching = Watching(
            self.canary.instance,
            self.hub,
            lambda: self.presence.running,
            lambda: self.lists.listings.shown,
        )

    def _build_polls(self, settings: Settings) -> None:
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

    def _build_lists(self, settings: Settings, limits: HistoryLimits) -> None:
        """What lists of executions need; under ownership `backend` there may be none."""
        self.index = Index(
            self.redis,
            self.ticker,
            self.metrics,
            settings.endings,
            limits=limits,
            channel_prefix=settings.channel_prefix,
            most=settings.list_entries,
        )
        self.lists = Lists(
            self.index,
            self.trips,
            self.hub,
            self.ticker,
            self.metrics,
            settings.endings,
            most_bytes=settings.list_bytes,
            is_revoked=self.access.revocations.revokes_execution,
            watching=self.watching.total,
            problem=lambda: self.subscription.problem,
            hears_all=self.intake.watched is None,
        )
        listings = self.lists.listings
        if self.access.lists.is_on:
            self.feed.note_for_lists = self.index.note_events
            if self.intake.watched is not None:
                # Its own feed may not bring them.
                self.publishing.on_published = self.index.published
        self.feed.on_list_changed = listings.changed
        self.access.revocations.on_applied = listings.look_again
        self.publishing.on_registered = self.index.registered
        self.intake.on_subscribed = self._subscribed
        if (watched := self.intake.watched) is not None:
            listings.on_opened, listings.on_closed = watched.watch_list, watched.unwatch_list
            watched.on_list_confirmed = listings.changed

    def _subscribed(self) -> None:
        # Where not all is heard, what runs and is silent is looked up once a minute all the same.
        hears_all = self.intake.watched is None
        self.index.heard_since_ms = self.subscription.since // 1000 if hears_all else 1
        self.lists.listings.look_again()
        self.questions.ask_soon("presence")

    def _forgotten(self, execution_id: str) -> None:
        self.documents.drop(execution_id)
        self.lists.listings.forgotten(execution_id)

    def _register(self) -> None:
        """What is called or asked regularly, or by another component; ARCHITECTURE.md describes
        each function and question."""
        every = self.ticker.every
        every(self.heartbeat.tick_seconds, "heartbeat", self.heartbeat.tick)
        every(self.stalls.tick_seconds, "stall watch", self.stalls.tick)
        every(PERIOD, "expiry", self.expiry.tick)
        every(PERIOD, "kept events", self.hub.kept.tick)
        self.intake.register(self.ticker)
        self.questions.add("presence", self.presence.questions, self.presence.rounds)
        self.feed.on_forgotten = self._forgotten
        self.hub.admit = self.access.policy.admit
        self.questions.add("watching", self.watching.questions)
        self.presence.on_storage_lost = self.access.storage_lost
        self.access.revocations.watch(self.hub, self.ticker, self.questions)
        # Last, since it may ask of thousands.
        self.questions.add("auditor", self.auditor.questions)

    def tasks(self) -> Tasks:
        """The background tasks in start order; ARCHITECTURE.md describes each."""
        return {
            "feed": self.feed.run,
            "subscription": self.subscription.run,
            "ticker": self.ticker.run,
            **({} if self.is_recorder else self.access.tasks()),
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
            self.lists.listings,
            self.intake.drops,
            self.presence,
            self.access,
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
        await self.lists.listings.stop()
        await self.hub.stop()
        await self.trips.stop()
        await self.publishing.trips.stop()
        await self.access.stop()
        await self.redis.aclose()
        if self.tracing is not None:
            await self.tracing.stop()


def _limits(settings: Settings) -> HistoryLimits:
    return HistoryLimits(
        settings.history_max_events,
        settings.history_max_bytes,
        int(settings.open_ttl_seconds * 1000),
        int(settings.history_ttl_seconds * 1000),
    )
