"""What the gateway exports, to a real collector, and what it costs where nobody asked for it."""

import asyncio
import signal
import socket
import sys
import time

import aiohttp
import orjson
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from redis.asyncio import Redis

from gateway.bus.feed import Feed
from gateway.bus.history import History
from gateway.components import Components
from gateway.tracing import Tracing
from tests.conftest import MakeSettings, StartGateway, credentials
from tests.harness.gateway_process import environment, serving
from tests.harness.history import kept
from tests.harness.sse import SseReader
from tests.support import eventually, free_port
from tests.tracing.collector import Collector, attributes, collecting, linked

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PAGE = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = f"00-{TRACE}-{SPAN}-01"


def message(traceparent: object) -> bytes:
    return orjson.dumps({"type": "step:started", "data": {}, "traceparent": traceparent})


async def export_at(monkeypatch: pytest.MonkeyPatch, collector: Collector) -> None:
    """Gateways of this test export to *collector*, soon."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")


async def test_ingest_replay_and_opening_are_linked_to_the_producers_trace(
    redis_url: str, redis: Redis
) -> None:
    """An event has the `traceparent` of its message live and from history, and the spans of its way
    link to the span that it names; the opening to the page's, too, which is not its parent. No
    span has the token."""
    headers = {**credentials(), "traceparent": f"00-{PAGE[0]}-{PAGE[1]}-01"}
    async with collecting() as collector, aiohttp.ClientSession() as session:
        settings = {"REDIS_URL": redis_url, "GATEWAY_OWNERSHIP": "token"}
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        async with serving(**settings, **variables) as process:
            await process.healthy(session)
            url = f"{process.url}/api/v1/sse/executions/{{}}/stream"
            live = SseReader(await session.get(url.format("run-1"), headers=credentials()))
            await live.expect("connected")
            for execution_id in ("run-1", "run-2"):
                await redis.publish(f"execution:{execution_id}", message(SAMPLED))
            shown = await live.expect("step:started")
            await eventually(lambda: kept(redis, "run-2"))
            late = SseReader(await session.get(url.format("run-2"), headers=headers))
            await late.expect("connected")
            replayed = await late.expect("step:started")
            for seen in (shown, replayed):
                assert seen.json()["traceparent"] == SAMPLED
            process.signal(signal.SIGTERM)
            assert await process.ended() == 0
            assert not process.errors
    assert collector.services == {"sse-gateway"}
    ingests = collector.named("sse.ingest")
    assert [attributes(one) for one in ingests] == [
        {"sse.execution_id": execution_id, "sse.events": 1} for execution_id in ("run-1", "run-2")
    ]
    replay = collector.named("sse.replay")[-1]
    assert attributes(replay) == {"sse.execution_id": "run-2", "sse.events": 1}
    for span in (*ingests, replay):
        assert linked(span) == [(TRACE, SPAN)]
        assert 0 < span.end_time_unix_nano - span.start_time_unix_nano < 10**10
    first, second = sorted(
        collector.named("sse.opening"), key=lambda span: span.start_time_unix_nano
    )
    assert linked(first) == []
    assert linked(second) == [PAGE, (TRACE, SPAN)]
    assert second.parent_span_id == b""
    assert replay.parent_span_id == second.span_id
    given = attributes(second)
    assert given.pop("sse.request_id")
    assert given == {
        "sse.execution_id": "run-2",
        "sse.organization_id": "acme",
        "http.response.status_code": 200,
    }
    token = credentials()["Authorization"].split()[1].rpartition(".")[0]
    assert token.encode() not in b"".join(collector.bodies)


async def test_a_refused_opening_says_why(
    start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the code of the refusal, without a link to a trace that is not exported; and
    `OTEL_SERVICE_NAME` is the service's name."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "events")
    async with collecting() as collector:
        await export_at(monkeypatch, collector)
        gateway = await start_gateway(ownership="token")
        trace = {"traceparent": f"00-{TRACE}-{SPAN}-00"}
        refused = await gateway.session.get(gateway.stream_url("run-1"), headers=trace)
        assert refused.status == 401
        [span] = await eventually(lambda: collector.named("sse.opening"))
    assert collector.services == {"events"}
    assert attributes(span)["error.type"] == (await refused.json())["error"]
    assert span.status.code == span.status.STATUS_CODE_UNSET
    assert linked(span) == []


async def test_openings_of_sets_and_lists_have_a_span(
    start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As that of one execution: linked to the request's trace; a refused one names its code."""
    async with collecting() as collector:
        await export_at(monkeypatch, collector)
        gateway = await start_gateway(ownership="token")
        trace = {"traceparent": f"00-{PAGE[0]}-{PAGE[1]}-01"}
        routes = {
            "executions/stream?execution_id=a&execution_id=b": {"sse.executions": 2},
            "organizations/acme/executions/stream": {},
        }
        for route, more in routes.items():
            collector.spans.clear()
            for headers in (credentials(), {}):
                answer = await gateway.session.get(
                    f"{gateway.url}/api/v1/sse/{route}", headers={**headers, **trace}
                )
                gateway.responses.append(answer)
            opened, refused = await eventually(
                lambda: collector.named("sse.opening")[1:] and collector.named("sse.opening")
            )
            assert linked(opened) == linked(refused) == [PAGE]
            given = attributes(opened)
            assert given.pop("sse.request_id")
            assert given == {
                "sse.organization_id": "acme",
                "http.response.status_code": 200,
                **more,
            }
            assert attributes(refused)["error.type"] == (await answer.json())["error"]


@pytest.mark.parametrize(
    ("traceparents", "links"),
    [
        ([None], []),
        ([SAMPLED, f"00-{TRACE}-{PAGE[1]}-01", f"00-{PAGE[0]}-{SPAN}-00"], [(TRACE, SPAN)]),
        ([f"00-{TRACE}-{SPAN}-00"], None),
        ([7, [SAMPLED], {"a": 1}, "", "00-0-0-01", SAMPLED.upper()], []),
        (
            [SAMPLED.replace(TRACE, "0" * 32), "ff" + SAMPLED[2:], "01" + SAMPLED[2:] + "-" * 300],
            [],
        ),
    ],
)
async def test_only_sampled_traces_are_linked(
    traceparents: list[object], links: list[tuple[str, str]] | None
) -> None:
    """Each once, whatever else stands there; and no span where the samples of the producers leave
    all of the events out."""
    exporter = InMemorySpanExporter()
    tracing = Tracing(exporter)
    tracing.ingested("run-1", [message(one) for one in traceparents], time.time_ns())
    await tracing.stop()
    found = [
        [(f"{link.context.trace_id:032x}", f"{link.context.span_id:016x}") for link in span.links]
        for span in exporter.get_finished_spans()
    ]
    assert found == ([links] if links is not None else [])


async def test_a_collector_that_hangs_holds_up_nothing(redis_url: str, redis: Redis) -> None:
    """Events flow, and the gateway stops in time; the log says that spans are lost."""
    # The kernel accepts for it, and nobody answers.
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        variables = {
            "GATEWAY_DRAIN_SECONDS": "0",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{hanging.getsockname()[1]}",
        }
        async with (
            aiohttp.ClientSession() as session,
            serving(REDIS_URL=redis_url, GATEWAY_OWNERSHIP="token", **variables) as process,
        ):
            await process.healthy(session)
            url = f"{process.url}/api/v1/sse/executions/run-1/stream"
            reader = SseReader(await session.get(url, headers=credentials()))
            await reader.expect("connected")
            await redis.publish("execution:run-1", message(SAMPLED))
            await reader.expect("step:started")
            begin = time.monotonic()
            process.signal(signal.SIGTERM)
            assert await process.ended() == 0
            assert time.monotonic() - begin < 4
            assert any("The last spans are lost" in line for line in process.lines)


async def test_a_collector_that_is_away_is_logged_once_a_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """However often the exporter tries; another test may have had this minute's line."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    for _ in range(3):
        tracing = Tracing()
        tracing.ingested("run-1", [message(SAMPLED)], time.time_ns())
        await tracing.stop()
    # The gateway's own line is that of a stop which the exporter's retry outlasted.
    tried = [one for one in caplog.records if one.name.startswith("opentelemetry")]
    assert len(tried) <= 1


@pytest.mark.parametrize(
    ("variables", "is_on", "says"),
    [
        ({}, False, ""),
        ({"OTEL_SERVICE_NAME": "events"}, False, ""),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True, ""),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://localhost:1/v1/traces"}, True, ""),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://a"}, False, ""),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://a"}, False, ""),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SPAN_LINK_COUNT_LIMIT": "x"},
            False,
            "not valid",
        ),
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, False, "OTEL_TRACES_EXPORTER is zipkin"),
    ],
)
async def test_the_environment_says_whether_spans_are_exported(
    variables: dict[str, str],
    is_on: bool,
    says: str,
    make_settings: MakeSettings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """By OpenTelemetry's own variables, where one says where to."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    tracing = Components(make_settings()).tracing
    if tracing is not None:
        await tracing.stop()
    assert (tracing is not None) == is_on
    assert says in caplog.text
    assert bool(caplog.text) == bool(says)


async def test_without_the_extra_the_log_names_it(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.delitem(sys.modules, "gateway.tracing")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    assert Components(make_settings()).tracing is None
    assert "pip install 'sse-gateway[otel]'" in caplog.text


async def test_off_costs_nothing(make_settings: MakeSettings) -> None:
    """The extra is installed here, and no variable set: an event meets the classes that have no
    code for spans; those that have it, and the exporter, are not even imported."""
    components = Components(make_settings())
    assert (type(components.feed), type(components.history)) == (Feed, History)
    program = (
        "import sys, gateway.cli.main, gateway.cli.serve, gateway.publisher\n"
        "from gateway.app import create_application\n"
        "from gateway.settings import load\n"
        "create_application(load(None))\n"
        "sys.exit(any(name in sys.modules for name in ('gateway.tracing', 'requests')))"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, env=environment())
    assert await process.wait() == 0
