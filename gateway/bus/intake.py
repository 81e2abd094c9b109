"""Everything that receives events, wired together: the subscription with its canary, the recorder,
the feed, and the auditor that finds missed events."""

from collections.abc import Callable, Iterable
from functools import partial

from redis.asyncio import Redis

from gateway.bus.agreed import AgreedNode
from gateway.bus.auditor import Auditor
from gateway.bus.canary import Canary
from gateway.bus.cluster import Cluster
from gateway.bus.cluster_canary import ClusterCanary
from gateway.bus.connection import server_of
from gateway.bus.drops import Drops
from gateway.bus.epochs import Epochs
from gateway.bus.feed import Feed
from gateway.bus.lanes import Lanes
from gateway.bus.node import Node
from gateway.bus.placed import Placed
from gateway.bus.probe import Probe
from gateway.bus.questions import Questions
from gateway.bus.recorder import Recorder
from gateway.bus.recording import RecordingRules
from gateway.bus.registry import Registry, UnregisteredWatch
from gateway.bus.shards import AnySubscription, Shards
from gateway.bus.subscription import TICK_SECONDS, Subscription
from gateway.bus.watched import Channels, Pattern, Watched
from gateway.contract.keys import live_command, meta_key
from gateway.contract.scripts import UNREGISTERED_TTL_MS, HistoryLimits
from gateway.events.envelope import EventRules
from gateway.fanout.hub import Hub
from gateway.metrics import Metrics
from gateway.settings import Settings
from gateway.ticker import Ticker


class Intake:
    """What brings the events of one gateway to its hub; nothing runs yet."""

    def __init__(
        self,
        settings: Settings,
        redis: Redis,
        hub: Hub,
        auditor: Auditor,
        questions: Questions,
        registry: Registry,
        metrics: Metrics,
        rules: EventRules,
        limits: HistoryLimits,
        feed: Callable[..., Feed],
    ) -> None:
        """*feed*: makes it, with or without spans."""
        self._redis = redis
        self._hub = hub
        self._auditor = auditor
        self._questions = questions
        self._metrics = metrics
        self.on_subscribed: Callable[[], None] = lambda: None
        """Called when a subscription was confirmed: what was published before it is missed."""
        self._build_subscription(settings.channel_prefix, watches=settings.watches)
        self.recorder = _recorder(settings, redis, metrics, limits)
        self.probe = Probe(redis)
        if self.recorder is not None:
            self.probe.on_recorded = self.recorder.records_again
        self.unregistered: UnregisteredWatch | None = None
        if settings.ownership == "registry":
            self.unregistered = UnregisteredWatch(registry, limits=limits)
        self.drops = Drops(redis, metrics)
        self.feed = self._make_feed(feed, settings, rules)

    def _build_subscription(self, prefix: str, *, watches: bool) -> None:
        self.subscription: AnySubscription
        self.canary: Canary
        self.watched: Watched | Placed | None = None
        """The channels that somebody needs; None where a pattern brings all."""
        self._shards: Shards | None = None
        if watches and isinstance(self._redis, Cluster):
            self._shards = shards = Shards(self._redis, prefix, self._metrics)
            shards.on_moving, shards.on_moving_on = self._compare_now, self._compare
            self.subscription, self.canary, self.watched = shards, shards.canary, shards.watched
        else:
            self.canary = self._make_canary(prefix)
            channels: Channels = Pattern(prefix)
            if watches:
                channels = self.watched = Watched(prefix, self.canary.instance)
            link = Subscription(self._redis, channels, self._metrics, self.canary)
            link.may_read_old = self._records
            server_of(self._redis).is_another = link.check_server
            self.subscription = link
        self.subscription.on_confirmed = self._subscribed
        if self.watched is not None:
            self._hub.on_watched, self._hub.on_unwatched = self.watched.watch, self.watched.unwatch
            self.watched.on_confirmed = self._heard_from_now_on
            self._auditor.on_unheard = self._unheard

    def _make_canary(self, prefix: str) -> Canary:
        if not isinstance(self._redis, Cluster):
            return Canary(prefix)
        canary = ClusterCanary(prefix, self._redis)
        canary.on_missed = self._missed
        return canary

    def _make_feed(self, feed: Callable[..., Feed], settings: Settings, rules: EventRules) -> Feed:
        made = feed(
            self.subscription,
            self._hub,
            self.canary,
            self._metrics,
            settings.channel_prefix,
            rules,
            Epochs(self._redis),
            self.drops,
            self.recorder,
            self.unregistered.note_events if self.unregistered else None,
            not settings.watches,
        )
        if isinstance(self._redis, Cluster):
            made.lanes = Lanes(self._redis)
        return made

    def register(self, ticker: Ticker) -> None:
        """Have *ticker* and the questions call what is to be called regularly."""
        every, add = ticker.every, self._questions.add
        every(self.drops.tick_seconds, "dropped messages", self.drops.tick)
        every(TICK_SECONDS, "silence watch", self.subscription.tick)
        if self.watched is not None:
            every(1.0, "unwatched executions", self.watched.tick)
        server = server_of(self._redis)
        server.on_doubt = lambda: ticker.start("server watch", server.tick)
        every(server.tick_seconds, "server watch", server.tick)
        if (watch := self.unregistered) is not None:
            every(watch.tick_seconds, "unregistered watch", watch.tick)
        add("canary", self.canary.questions)
        add("probe", self.probe.questions, self.probe.rounds)
        self.probe.ask_soon = partial(self._questions.ask_soon, "probe")
        if self._shards is not None:
            add("moving slots", self._shards.questions)
        elif isinstance(self._redis, Cluster):
            add("agreed node", AgreedNode(self._redis.nodes).questions)

    # For health.

    @property
    def late_problem(self) -> str | None:
        """Why events come late, as a sentence."""
        return self.watched.problem if self.watched is not None else None

    @property
    def node_problems(self) -> Iterable[str]:
        """A sentence about each node of a cluster that is lost."""
        yield from server_of(self._redis).problems
        yield from self.canary.lost_links
        if self._shards is not None:
            yield from self._shards.problems

    # What may have been missed.

    def _records(self) -> bool:
        return self.recorder is not None and self.recorder.refusal is None

    def _subscribed(self) -> None:
        if self.watched is None:
            self._hub.subscribed()
            self._auditor.subscribed()
        self.on_subscribed()
        # A new subscription needs a canary to be healthy.
        self._questions.send_now()

    def _heard_from_now_on(self, execution_id: str) -> None:
        self._hub.subscribed([execution_id])
        self._auditor.subscribed(execution_id)

    def _missed(self, node: Node) -> None:
        """A link between two nodes of a cluster was interrupted: what came over it is lost."""
        for one in list(self._hub.executions):
            if isinstance(self._redis, Cluster) and self._redis.node_of(meta_key(one)) is node:
                self._heard_from_now_on(one)

    def _unheard(self, execution_id: str) -> None:
        # What has come already, and waits, may be it.
        if self.watched is not None and not (self.subscription.inbox.bytes or self.feed.busy_for):
            self.watched.unheard(execution_id)

    def _compare(self, execution_ids: Iterable[str]) -> None:
        for one in execution_ids:
            self._auditor.silent(one)

    def _compare_now(self, execution_ids: Iterable[str]) -> None:
        self._compare(execution_ids)
        self._questions.send_now()


def _recorder(
    settings: Settings, redis: Redis, metrics: Metrics, limits: HistoryLimits
) -> Recorder | None:
    if settings.record_bare_events == "off":
        return None
    # Under another ownership no execution is ever registered.
    unregistered_ttl_ms = UNREGISTERED_TTL_MS if settings.ownership == "registry" else 0
    in_cluster = isinstance(redis, Cluster)
    return Recorder(
        redis,
        RecordingRules(
            limits,
            settings.endings,
            unregistered_ttl_ms,
            settings.restart_types,
            live_command(in_cluster=in_cluster) if settings.hands_on else "",
            in_cluster,
        ),
        metrics,
    )
