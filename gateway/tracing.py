"""Spans of what the gateway does with events, exported with OpenTelemetry (the extra `otel`).

Imported only if the environment switches spans on. Its classes then replace those that they extend,
which have no code for spans: without spans, events and streams cost no more than before.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import (
    Link,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    get_current_span,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from redis.asyncio import Redis

from gateway import __version__
from gateway.bus.feed import Feed
from gateway.bus.history import History, Page
from gateway.bus.inbox import MessageBatch
from gateway.bus.recording import Given
from gateway.bus.trips import Trips
from gateway.errors import RequestRefused
from gateway.events.envelope import Envelope
from gateway.events.history_page import HistoryPage
from gateway.events.ids import EventId
from gateway.events.json_edit import parse_object
from gateway.fanout.set_stream import SetStream
from gateway.fanout.stream import Stream
from gateway.fanout.subscriber import Subscriber
from gateway.http.access_log import request_id
from gateway.http.stream import StreamHandler
from gateway.log import RateLimitedLog

log = logging.getLogger(__name__)

_MOST_LINKS = 32
"""Events of a batch or page, the newest ones, whose traces are linked: while no collector takes
spans, 2048 of them wait in memory."""

_LONGEST = 256
"""Most characters of a `traceparent` that is read; those of today have 55."""

_FLUSH_SECONDS = 1.0
"""How long the end of the gateway waits for the collector to take the last spans."""

# The exporter has a line for each failed try, every few seconds.
_failures = RateLimitedLog(60.0)
logging.getLogger(OTLPSpanExporter.__module__).addFilter(lambda _: _failures.due() is not None)

_PROPAGATOR = TraceContextTextMapPropagator()


class Tracing:
    """Exports spans, as the `OTEL_…` variables say; `stop` ends it."""

    def __init__(self, exporter: SpanExporter | None = None) -> None:
        """*exporter*: OTLP over HTTP by default."""
        resource = Resource.create()
        if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
            resource = resource.merge(Resource({SERVICE_NAME: "sse-gateway"}))
        # At exit it would wait 30 seconds for a collector that is away.
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("sse-gateway", __version__)
        self.feed = partial(TracedFeed, tracing=self)
        self.history = partial(TracedHistory, tracing=self)
        self.stream_handler = partial(TracedStreamHandler, tracing=self)

    @contextmanager
    def span(
        self, name: str, kind: SpanKind, links: Sequence[Link] = (), **attributes: str
    ) -> Iterator[Span]:
        """A span around the block; what the block raises is named in it."""
        with self._tracer.start_as_current_span(
            name,
            kind=kind,
            links=links,
            attributes=_named(attributes),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except RequestRefused as refusal:
                span.set_attribute("error.type", refusal.code)
                if refusal.status >= 500:
                    span.set_status(StatusCode.ERROR)
                raise
            except BaseException as error:
                # Without its text: only the log redacts.
                span.set_attribute("error.type", type(error).__name__)
                if isinstance(error, Exception):
                    span.set_status(StatusCode.ERROR)
                raise

    def ingested(self, execution_id: str, bodies: Sequence[bytes], begin_ns: int) -> None:
        """Events of an execution have been handed on; they arrived at *begin_ns* (`time_ns`)."""
        producers = _producers(bodies)
        links = _links(producers)
        if producers and not links:
            # The producers take samples, and none of these is one.
            return
        self._tracer.start_span(
            "sse.ingest",
            kind=SpanKind.CONSUMER,
            links=links,
            start_time=begin_ns,
            attributes={"sse.execution_id": execution_id, "sse.events": len(bodies)},
        ).end()

    def opening(self, handler: Handler) -> Handler:
        """*handler* of requests for streams, with a span for each of them."""

        async def handle(request: web.Request) -> web.StreamResponse:
            # A link, not the parent: a stranger must not decide what is exported.
            links = _links(_contexts([request.headers.get("traceparent")]))
            with self.span(
                "sse.opening", SpanKind.SERVER, links, request_id=request_id(request)
            ) as span:
                response = await handler(request)
                span.set_attribute("http.response.status_code", response.status)
                return response

        return handle

    async def stop(self) -> None:
        """Export what is left, within a second."""
        # A daemon, since the exporter may take 30 seconds.
        last = threading.Thread(target=self._provider.shutdown, daemon=True)
        last.start()
        await asyncio.to_thread(last.join, _FLUSH_SECONDS)
        if last.is_alive():
            log.warning("The last spans are lost: the collector accepted none for a second.")


@dataclass(eq=False)
class TracedFeed(Feed):
    """A span for the events of one execution that arrived together: until they are handed on."""

    tracing: Tracing = field(kw_only=True)
    _begin_ns: int = field(default=0, init=False)

    async def _deliver(self, batch: MessageBatch) -> None:
        self._begin_ns = time.time_ns()
        await super()._deliver(batch)

    def _hand_on(
        self, execution_id: str, envelopes: Sequence[Envelope], ids: list[Given | None] | None
    ) -> None:
        super()._hand_on(execution_id, envelopes, ids)
        self.tracing.ingested(execution_id, [one.body for one in envelopes], self._begin_ns)


class TracedHistory(History):
    """A span for each page that is read from Redis."""

    def __init__(self, redis: Redis, trips: Trips | None = None, *, tracing: Tracing) -> None:
        super().__init__(redis, trips)
        self._tracing = tracing

    async def page(self, execution_id: str, cursor: EventId | None, **options: Any) -> Page:
        """See `History.page`."""
        with self._tracing.span("sse.replay", SpanKind.CLIENT, execution_id=execution_id) as span:
            page = await super().page(execution_id, cursor, **options)
            span.set_attribute("sse.events", len(page.entries))
            _link(span, [entry.payload for entry in page.entries[-_MOST_LINKS:]])
            return page


@dataclass(frozen=True)
class TracedStreamHandler(StreamHandler):
    """A span for each request for a stream: until its first page is written, or it is refused."""

    tracing: Tracing = field(kw_only=True)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """See `StreamHandler.handle`."""
        return await self.tracing.opening(super().handle)(request)

    async def _open(
        self, request: web.Request, subscriber: Subscriber, page: HistoryPage
    ) -> web.StreamResponse:
        span = get_current_span()
        span.set_attributes(_named({"execution_id": subscriber.execution_id}))
        _link(span, [event.json for event in page.events[-_MOST_LINKS:]])
        return await super()._open(request, subscriber, page)

    async def start(
        self,
        request: web.Request,
        stream: Stream,
        first: bytes,
        attach: Callable[[asyncio.Transport], None],
    ) -> web.StreamResponse:
        """See `StreamHandler.start`: sets and lists begin with it, too."""
        span = get_current_span()
        span.set_attributes(_named({"organization_id": stream.principal.organization_id}))
        if isinstance(stream, SetStream):
            span.set_attribute("sse.executions", len(stream.execution_ids))
        return await super().start(request, stream, first, attach)


def _named(attributes: Mapping[str, str]) -> dict[str, str]:
    return {f"sse.{name}": value for name, value in attributes.items()}


def _link(span: Span, bodies: Sequence[bytes]) -> None:
    """Link *span* to the traces in which the events of *bodies* were published."""
    if span.is_recording():
        for link in _links(_producers(bodies)):
            span.add_link(link.context)


def _links(contexts: Iterable[SpanContext]) -> list[Link]:
    """To those *contexts* that are exported."""
    return [Link(context) for context in contexts if context.trace_flags.sampled]


def _producers(bodies: Sequence[bytes]) -> Sequence[SpanContext]:
    """The span in which each event was published, where its JSON names one."""
    return _contexts(
        parse_object(body).get("traceparent")
        for body in bodies[-_MOST_LINKS:]
        if b'"traceparent"' in body
    )


def _contexts(values: Iterable[object]) -> Sequence[SpanContext]:
    """The span contexts that *values* name, one of each trace; anybody may have written them."""
    found: dict[int, SpanContext] = {}
    for value in values:
        if isinstance(value, str) and len(value) <= _LONGEST:
            carrier = {"traceparent": value}
            context = get_current_span(_PROPAGATOR.extract(carrier)).get_span_context()
            if context.is_valid:
                found.setdefault(context.trace_id, context)
    return list(found.values())
