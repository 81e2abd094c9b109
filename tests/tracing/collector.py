"""An OpenTelemetry collector: takes spans by OTLP over HTTP, and remembers them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support import served


class Collector:
    """What a collector was sent."""

    def __init__(self) -> None:
        self.url = ""
        self.bodies: list[bytes] = []
        self.services: set[str] = set()
        self.spans: list[Span] = []

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]

    async def take(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/x-protobuf"
        self.bodies.append(await request.read())
        for resource in ExportTraceServiceRequest.FromString(self.bodies[-1]).resource_spans:
            named = {one.key: one.value.string_value for one in resource.resource.attributes}
            self.services.add(named["service.name"])
            for scope in resource.scope_spans:
                self.spans += scope.spans
        return web.Response(body=ExportTraceServiceResponse().SerializeToString())


def attributes(span: Span) -> dict[str, str | int]:
    """Of *span*, those that are text or a number."""
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


def linked(span: Span) -> list[tuple[str, str]]:
    """The trace and the span of each link."""
    return [(link.trace_id.hex(), link.span_id.hex()) for link in span.links]


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """A collector that runs for as long as the block does."""
    collector = Collector()
    application = web.Application()
    application.router.add_post("/v1/traces", collector.take)
    async with served(application) as collector.url:
        yield collector
