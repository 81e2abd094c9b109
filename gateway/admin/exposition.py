"""`GET /metrics`: what the gateway counts, as Prometheus reads it.

`prometheus_client` words the exposition and tells of the process; the numbers are read from the
parts when somebody asks, so that counting costs the path of an event nothing.

Every label is bounded: reasons and codes are lists in the source, never what a stranger sent.
"""

import asyncio
import platform
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from gateway import __version__
from gateway.bus.canary import Canary
from gateway.bus.health import Health
from gateway.bus.subscription import Subscription
from gateway.events.sse_encoder import CloseReason
from gateway.fanout.hub import Hub
from gateway.fanout.subscriber import COMPLETED, GONE
from gateway.http.poll_budget import Budget
from gateway.http.runs import CUT_REASONS
from gateway.metrics import Histogram, Metrics
from gateway.tasks import Supervisor


@dataclass(frozen=True, slots=True)
class Sources:
    """What is read; nothing here is ever written to."""

    metrics: Metrics
    hub: Hub
    health: Health
    subscription: Subscription
    canary: Canary
    supervisor: Supervisor
    polls: Budget

    def not_ready(self) -> list[str]:
        """In words, why no new stream should be sent here; empty while it is ready."""
        reasons = list(self.health.status().reasons)
        if self.hub.draining:
            reasons.insert(0, "The gateway is stopping: its streams are being sent away.")
        return reasons


PREFIX = "sse_gateway_"

_REASONS = (COMPLETED, GONE, *CloseReason)
_DROPPED = ("malformed", "unrecorded", "history")


def create_registry(sources: Sources) -> CollectorRegistry:
    """All metrics of one gateway and of the process that it runs in."""
    registry = CollectorRegistry()
    registry.register(GatewayCollector(sources))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


class GatewayCollector(Collector):
    """Reads one gateway, each time that somebody asks."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def collect(self) -> Iterator[Metric]:
        """Called by the registry, from the event loop's thread: nothing moves meanwhile."""
        yield from self._streams()
        yield from self._readers()
        yield from self._events()
        yield from self._redis()
        yield from self._process()

    def _streams(self) -> Iterator[Metric]:
        hub, metrics = self._sources.hub, self._sources.metrics
        yield _gauge("streams_open", "Streams that are open, or about to be.", len(hub))
        yield _gauge("streams_limit", "Most streams at once; 0: no limit.", hub.max_subscribers)
        yield _total("streams_opened", "Streams that were opened.", metrics.streams_opened)
        yield _totals(
            "streams_closed",
            "Streams that have ended, by reason; gone: the reader left.",
            "reason",
            metrics.streams_closed,
            _REASONS,
        )
        yield _totals("refusals", "Refused requests, by error code.", "code", metrics.refusals)

    def _readers(self) -> Iterator[Metric]:
        metrics = self._sources.metrics
        held = slow = events = waiting = fullest = 0
        written = metrics.bytes_delivered
        for subscriber in self._sources.hub:
            mine, size = subscriber.waiting
            held += subscriber.held
            slow += subscriber.is_behind
            events += mine
            waiting += size
            fullest = max(fullest, mine)
            written += subscriber.written
        yield _gauge("streams_held", "Streams that are catching up from history.", held)
        yield _gauge(
            "streams_slow", "Streams whose reader has not taken all that was written.", slow
        )
        yield _gauge("queue_events", "Events that wait for readers, in all queues.", events)
        yield _gauge("queue_bytes", "Bytes that wait for readers, in all queues.", waiting)
        yield _gauge("queue_events_max", "Events in the fullest queue.", fullest)
        yield _total(
            "queue_overruns",
            "Times that a reader was too far behind for its queue and went back to history.",
            metrics.queue_overruns,
        )
        yield _total("bytes_delivered", "Bytes of streams, as they were written.", written)
        yield _gauge("poll_bytes", "Bytes that polls hold.", self._sources.polls.used)
        yield _totals(
            "polls_cut",
            "Polls whose reader did not read: stalled took nothing, slow took too little.",
            "reason",
            metrics.polls_cut,
            CUT_REASONS,
        )

    def _events(self) -> Iterator[Metric]:
        metrics = self._sources.metrics
        yield _total("events_received", "Events from Redis.", metrics.events_received)
        yield _total("events_recorded", "Bare events put on record.", metrics.events_recorded)
        yield _total("events_delivered", "Events to subscribers.", metrics.events_delivered)
        yield _totals(
            "events_dropped",
            "malformed: messages that are no event; unrecorded: events that were delivered live "
            "and are in no history; history: what somebody else wrote into one.",
            "where",
            metrics.events_dropped,
            _DROPPED,
        )
        yield _total("gaps", "Times that a reader was told stream:gap.", metrics.gaps)
        yield _total("resets", "Times that a reader was told stream:reset.", metrics.resets)
        yield _total("history_reads", "Pages of history read from Redis.", metrics.history_reads)
        yield _histogram(
            "feed_lag_seconds", "From an event's timestamp to its sockets.", metrics.feed_lag
        )

    def _redis(self) -> Iterator[Metric]:
        sources = self._sources
        connections = sources.metrics.feed_connections
        connected = sources.health.status().redis_connected
        yield _gauge("redis_connected", "1 while events can come from Redis.", connected)
        yield _gauge("canary_age_seconds", "Since a canary last came back.", sources.canary.age)
        yield _gauge("inbox_bytes", "Read and not delivered yet.", sources.subscription.inbox_bytes)
        yield _total("feed_reconnects", "Subscriptions after the first.", max(0, connections - 1))

    def _process(self) -> Iterator[Metric]:
        sources = self._sources
        yield _gauge("ready", "1 while new streams may be sent here.", not sources.not_ready())
        yield _gauge("draining", "1 once streams are being sent away.", sources.hub.draining)
        yield _gauge("tasks", "Tasks of the event loop.", len(asyncio.all_tasks()))
        yield _gauge(
            "tasks_dead",
            "Background tasks that have ended; only a restart mends that.",
            len(sources.supervisor.failures),
        )
        yield _histogram(
            "loop_lag_seconds", "How late the event loop is.", sources.metrics.loop_lag
        )
        info = GaugeMetricFamily(
            f"{PREFIX}build_info", "What runs here; always 1.", labels=["version", "python"]
        )
        info.add_metric([__version__, platform.python_version()], 1)
        yield info


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, documentation, value=float(value))


def _total(name: str, documentation: str, value: float) -> Metric:
    return CounterMetricFamily(PREFIX + name, documentation, value=float(value))


def _totals(
    name: str,
    documentation: str,
    label: str,
    values: Mapping[str, int],
    known: Collection[str] = (),
) -> Metric:
    """*known* label values stand there from the start: a rate needs a first value to begin from."""
    family = CounterMetricFamily(PREFIX + name, documentation, labels=[label])
    for value in sorted({*known, *values}):
        family.add_metric([value], float(values.get(value, 0)))
    return family


def _histogram(name: str, documentation: str, histogram: Histogram) -> Metric:
    return HistogramMetricFamily(
        PREFIX + name,
        documentation,
        buckets=list(_cumulative(histogram)),
        sum_value=histogram.sum,
    )


def _cumulative(histogram: Histogram) -> Iterable[tuple[str, float]]:
    below = 0
    names = [*map(str, histogram.bounds), "+Inf"]
    for name, count in zip(names, histogram.counts, strict=True):
        below += count
        yield name, float(below)
