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
from typing import Any, get_args, get_type_hints

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
from gateway.access.claims import Reason
from gateway.admin.sources import Sources
from gateway.bus.health import KINDS
from gateway.events.sse_encoder import CloseReason
from gateway.fanout.state import COMPLETED, GONE, Snapshot, State
from gateway.http.poll_answers import CUT_REASONS
from gateway.metrics import LAG_BOUNDS, PREFIX, LagHistogram, Metrics

_REFUSALS = (
    "address_limit", "body_not_allowed", "body_too_large", "connection_limit", "cookie_refused",
    "credentials_in_query", "duplicate_credentials", "execution_forbidden", "execution_forgotten",
    "execution_id_missing", "execution_not_found", "header_not_allowed", "header_required",
    "headers_too_large", "http", "idempotency_key_reused", "invalid_token", "length_required",
    "limit_reached", "list_limit", "lists_busy", "lists_unavailable", "malformed_before",
    "malformed_body", "malformed_epoch", "malformed_event", "malformed_execution_id",
    "malformed_idempotency_key", "malformed_limit", "malformed_organization", "malformed_request",
    "malformed_status", "malformed_workflow_id", "not_found", "organization_claim_missing",
    "organization_differs", "organization_forbidden", "organization_limit", "organization_missing",
    "organization_revoked", "poll_limit", "polls_busy", "publish_busy", "publish_forbidden",
    "publish_limit", "rate_limit", "request_timeout", "run_not_found", "run_restarted",
    "run_too_large", "subject_limit", "ticket_invalid", "token_expired", "token_missing",
    "token_revoked", "too_many_events", "too_many_executions", "too_many_parameters", "unavailable",
    "unregistered_history", "unsupported_media_type", "uri_too_long", "workflow_differs",
)  # fmt: skip
# The labels that are shown from the start: a rate needs a first value.
_KNOWN: dict[str, tuple[str | tuple[str, str], ...]] = {
    "refusals": (
        *_REFUSALS,
        *[("invalid_token", one) for one in get_args(Reason) if one != "expired"],
        ("token_expired", "expired"),
    ),
    "streams_closed": (COMPLETED, GONE, *CloseReason),
    "polls_cut": CUT_REASONS,
    "events_dropped": (
        "malformed",
        "unrecorded",
        "history",
        "forgotten",
        "superseded",
        "catching_up",
    ),
    "events_edited": ("repaired", "trimmed", "replaced", "renumbered"),
}
_TEXTS: dict[str, tuple[str, ...]] = {
    name: hint.__metadata__
    for name, hint in get_type_hints(Metrics, include_extras=True).items()
    if hasattr(hint, "__metadata__")
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


def _family(name: str, value: int | Counter[Any] | LagHistogram, text: str, *labels: str) -> Metric:
    name = PREFIX + name
    if isinstance(value, LagHistogram):
        buckets = zip(_BUCKETS, accumulate(value.counts), strict=True)
        return HistogramMetricFamily(f"{name}_seconds", text, list(buckets), value.sum)
    if isinstance(value, int):
        return CounterMetricFamily(name, text, value)
    family = CounterMetricFamily(name, text, labels=labels)
    for key in sorted({*_KNOWN.get(name.removeprefix(PREFIX), ()), *value}, key=str):
        # A key without the last label has none.
        family.add_metric([key] if isinstance(key, str) else key, value[key])
    return family


class GatewayCollector(Collector):
    """Reads one gateway at each scrape."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def collect(self) -> Iterator[Metric]:
        """Called by the registry in the event loop's thread: nothing changes meanwhile."""
        metrics = self._sources.metrics
        for name, texts in _TEXTS.items():
            yield _family(name, getattr(metrics, name), *texts)
        reconnects = max(0, metrics.feed_connections - 1)
        yield _family("feed_reconnects", reconnects, "Subscriptions after the first.")
        now = asyncio.get_running_loop().time()
        streams = [one.snapshot(now) for one in self._sources.hub]
        written = metrics.bytes_delivered + sum(one.bytes for one in streams)
        yield _family("bytes_delivered", written, "Bytes that were written to streams.")
        for name, documentation, value in (*self._streams(streams), *self._others()):
            yield GaugeMetricFamily(PREFIX + name, documentation, value)
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
        dead, inbox = len(sources.supervisor.failures), sources.subscription.inbox.bytes
        yield "settings_differ", "Other gateways with other settings.", sources.presence.differing
        access, failed = sources.access, sources.metrics.reload_failed
        yield "revocations_age_seconds", "Since revocations were current.", access.revocations.age
        yield "keys_age_seconds", "Since an issuer's keys were fetched.", access.keys_age
        yield "reload_failed", "1 if the last reload found a mistake.", failed
        yield "poll_bytes", "Bytes of memory that polls take.", sources.polls.used
        lists = sources.lists
        yield "lists_open", "Lists that somebody looks at.", len(lists)
        yield "list_executions", "Executions that are followed for lists.", lists.folds
        yield "list_bytes", "Bytes of memory that lists take, about.", lists.bytes
        yield "redis_connected", "1 while events can come from Redis.", is_connected
        yield "canary_age_seconds", "Since a canary last came back.", sources.canary.age
        yield "inbox_bytes", "Bytes read from Redis and not delivered yet.", inbox
        yield "ready", "1 while new streams may be sent here.", not sources.not_ready()
        yield "draining", "1 while the gateway stops and closes its streams.", sources.hub.draining
        yield "tasks", "Tasks of the event loop.", len(asyncio.all_tasks())
        yield "tasks_dead", "Background tasks that have ended: restart the gateway.", dead
