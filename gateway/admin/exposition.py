"""`GET /metrics`: what the gateway counts, as Prometheus reads it.

Most figures are read from the components at each scrape, so that counting costs the path of an
event nothing. Every label is bounded: reasons and codes are lists in the source, never text that a
client sent.
"""

import asyncio
import platform
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from gateway import __version__
from gateway.admin.sources import Sources
from gateway.bus.health import KINDS
from gateway.events.sse_encoder import CloseReason
from gateway.fanout.state import COMPLETED, GONE, Snapshot, State
from gateway.http.runs import CUT_REASONS
from gateway.metrics import LAG_BOUNDS, PREFIX

# By their fields of `Metrics`.
_COUNTERS = {
    "streams_opened": "Streams that were opened.",
    "queue_overruns": "Times that a reader fell too far behind for its queue and went back to "
    "history.",
    "events_received": "Events from Redis.",
    "events_recorded": "Bare events that were recorded in a history.",
    "events_delivered": "Events to subscribers.",
    "gaps": "Times that stream:gap was sent.",
    "resets": "Times that stream:reset was sent.",
    "storage_losses": "Times that Redis had lost its data.",
    "history_reads": "Pages of history that were read from Redis.",
}
# With the label, and the values that are shown from the start: a rate needs a first value.
_LABELLED: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "streams_closed": (
        "Streams that have ended, by reason. gone: the reader left.",
        "reason",
        (COMPLETED, GONE, *CloseReason),
    ),
    "refusals": ("Refused requests, by error code.", "code", ()),
    "polls_cut": (
        "Polls whose reader did not read. stalled: it took nothing; slow: it took too little.",
        "reason",
        CUT_REASONS,
    ),
    "failures": (
        "Failed calls of what the gateway does regularly, by name; each is tried again.",
        "name",
        (),
    ),
    "events_dropped": (
        "malformed: messages that are no event. unrecorded: events that were delivered live and "
        "are in no history. history: entries of a history that are no event. "
        "forgotten: late ones of an execution that was deleted. catching_up: events without ids "
        "that did not fit into the queue of a stream that was reading history.",
        "where",
        ("malformed", "unrecorded", "history", "forgotten", "catching_up"),
    ),
    "events_edited": (
        "Events that were not passed on as they were published. repaired: their JSON; trimmed: "
        "what was too large; replaced: little but the type could be read; renumbered: the id was "
        "the producer's own.",
        "edit",
        ("repaired", "trimmed", "replaced", "renumbered"),
    ),
}


_LAGS = {
    "feed_lag": "From an event's timestamp to its sockets.",
    "loop_lag": "How late the event loop is.",
}
_BUCKETS = (*map(str, LAG_BOUNDS), "+Inf")


def exposed(sources: Sources, accept: str) -> tuple[bytes, str]:
    """All metrics of one gateway and of the process that it runs in, and their content type, which
    is chosen by *accept*, a header."""
    registry = CollectorRegistry()
    registry.register(GatewayCollector(sources))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


_Gauge = tuple[str, str, float]


class GatewayCollector(Collector):
    """Reads one gateway at each scrape."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def collect(self) -> Iterator[Metric]:
        """Called by the registry in the event loop's thread: nothing changes meanwhile."""
        metrics = self._sources.metrics
        counters = {name: (help_, getattr(metrics, name)) for name, help_ in _COUNTERS.items()}
        reconnects = max(0, metrics.feed_connections - 1)
        counters["feed_reconnects"] = ("Subscriptions after the first.", reconnects)
        now = asyncio.get_running_loop().time()
        streams = [one.snapshot(now) for one in self._sources.hub]
        written = metrics.bytes_delivered + sum(one.bytes for one in streams)
        counters["bytes_delivered"] = ("Bytes that were written to streams.", written)
        for name, (documentation, value) in counters.items():
            yield CounterMetricFamily(PREFIX + name, documentation, value)
        for name, (documentation, label, known) in _LABELLED.items():
            family = CounterMetricFamily(PREFIX + name, documentation, labels=[label])
            counts = getattr(metrics, name)
            for label_value in sorted({*known, *counts}):
                family.add_metric([label_value], counts[label_value])
            yield family
        for name, documentation, value in (*self._streams(streams), *self._others()):
            yield GaugeMetricFamily(PREFIX + name, documentation, value)
        for name, documentation in _LAGS.items():
            lags = getattr(metrics, name)
            buckets = zip(_BUCKETS, accumulate(lags.counts), strict=True)
            yield HistogramMetricFamily(
                f"{PREFIX}{name}_seconds", documentation, list(buckets), lags.sum
            )
        problems = GaugeMetricFamily(
            f"{PREFIX}problems", "Problems that health names, by kind.", labels=["kind"]
        )
        named = Counter(one.kind for one in self._sources.health.status().problems)
        for kind in KINDS:
            problems.add_metric([kind], named[kind])
        yield problems
        info = GaugeMetricFamily(
            f"{PREFIX}build_info", "What runs here; always 1.", labels=["version", "python"]
        )
        info.add_metric([__version__, platform.python_version()], 1)
        yield info

    def _streams(self, streams: Sequence[Snapshot]) -> Iterator[_Gauge]:
        hub = self._sources.hub
        events, sizes = [one.queue_events for one in streams], [one.queue_bytes for one in streams]
        catching_up = sum(one.state in (State.OPENING, State.CATCHING_UP) for one in streams)
        slow = sum(one.blocked > 0 for one in streams)
        yield "streams_open", "Streams that are open or opening.", len(hub)
        yield "streams_limit", "Most streams at once; 0: no limit.", hub.max_subscribers
        yield "streams_catching_up", "Streams that are catching up from history.", catching_up
        yield "streams_slow", "Streams whose reader has not taken all bytes.", slow
        yield "queue_events", "Events that wait for readers, in all queues.", sum(events)
        yield "queue_bytes", "Bytes that wait for readers, in all queues.", sum(sizes)
        yield "queue_events_max", "Events in the fullest queue.", max(events, default=0)

    def _others(self) -> Iterator[_Gauge]:
        sources = self._sources
        is_connected = sources.health.status().redis_connected
        dead, inbox = len(sources.supervisor.failures), sources.subscription.inbox_bytes
        yield "settings_differ", "Other gateways with other settings.", sources.presence.differing
        yield "poll_bytes", "Bytes of memory that polls take.", sources.polls.used
        yield "redis_connected", "1 while events can come from Redis.", is_connected
        yield "canary_age_seconds", "Since a canary last came back.", sources.canary.age
        yield "inbox_bytes", "Bytes read from Redis and not delivered yet.", inbox
        yield "ready", "1 while new streams may be sent here.", not sources.not_ready()
        yield "draining", "1 while the gateway stops and closes its streams.", sources.hub.draining
        yield "tasks", "Tasks of the event loop.", len(asyncio.all_tasks())
        yield "tasks_dead", "Background tasks that have ended: restart the gateway.", dead
