"""`sse-gateway check URL` through real proxies: what holds a stream back or cuts it is found."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from redis.asyncio import Redis

from gateway.bus.registry import Registry, UnregisteredWatch
from gateway.tools.check.finding import Finding, Level, worst
from gateway.tools.check.probe import Probe
from gateway.tools.check.proxy import Options, check_url
from tests.conftest import MakeSettings, RunningGateway, StartGateway
from tests.harness.nginx import Nginx
from tests.harness.redis_cluster import RedisCluster
from tests.harness.ticking import ticking
from tests.support import SECRET, eventually, free_port, served

SETTINGS: dict[str, Any] = {"ownership": "registry", "heartbeat_seconds": 0.5}
OPTIONS = Options(silence=1.0)
MakeNginx = Callable[..., Nginx]


@pytest.fixture
async def registry(start_gateway: StartGateway) -> RunningGateway:
    return await start_gateway(**SETTINGS)


@pytest.fixture
def make_nginx(tmp_path: Path, registry: RunningGateway) -> Iterator[MakeNginx]:
    """Starts an nginx with the project's site, changed by pairs of old and new text."""
    made: list[Nginx] = []

    def make(*changes: tuple[str, str], tls: bool = False) -> Nginx:
        prefix = tmp_path / f"nginx-{len(made)}"
        prefix.mkdir()
        made.append(Nginx(prefix, registry.url, tls=tls))
        for old, new in changes:
            made[-1].replace(old, new)
        made[-1].start()
        return made[-1]

    yield make
    for nginx in made:
        nginx.stop()


def told(findings: list[Finding], level: Level = Level.ERROR) -> list[str]:
    return [one.sentence for one in findings if one.level is level]


async def test_well(make_nginx: MakeNginx, make_settings: MakeSettings, redis: Redis) -> None:
    """Through the project's nginx all is well, HTTP/2 too, and nothing of the probe stays in Redis;
    a certificate that nobody trusts is reported, unless it is meant."""
    nginx = make_nginx(tls=True)
    options = Options(silence=1.0, insecure=True)
    findings = await check_url(nginx.url, make_settings(**SETTINGS), options)
    assert worst(findings) is Level.OK, findings
    said = " ".join(told(findings, Level.OK))
    for words in ("is healthy", "HTTP/2", "each of 10 events", "heartbeats come"):
        assert words in said
    [refused] = told(await check_url(nginx.url, make_settings(**SETTINGS), OPTIONS))
    assert "certificate" in refused
    assert [key async for key in redis.scan_iter("*sse-gateway-check-*")] == []


@pytest.mark.parametrize("fixture", ["redis_url", "cluster"])
async def test_a_gateway_that_hears_what_is_watched_alone(
    start_gateway: StartGateway,
    make_settings: MakeSettings,
    request: pytest.FixtureRequest,
    fixture: str,
) -> None:
    """The events of the probe are published where it hears them."""
    given = request.getfixturevalue(fixture)
    settings = {
        **SETTINGS,
        "redis_url": given.url if isinstance(given, RedisCluster) else given,
        "subscription": "execution",
        "record_bare_events": "off",
    }
    gateway = await start_gateway(**settings, recorder=False)
    findings = await check_url(gateway.url, make_settings(**settings), OPTIONS)
    assert told(findings) == []
    assert any("each of 10 events" in one for one in told(findings, Level.OK))


async def test_without_tls(make_nginx: MakeNginx, make_settings: MakeSettings) -> None:
    """Without HTTP/2 the seventh tab hangs: a warning, and no error."""
    findings = await check_url(make_nginx().url, make_settings(**SETTINGS), OPTIONS)
    assert worst(findings) is Level.WARNING
    assert ["HTTP/1.1" in one for one in told(findings, Level.WARNING)] == [True]


async def test_compressed(make_nginx: MakeNginx, make_settings: MakeSettings) -> None:
    """A proxy that compresses the stream and passes each event on wastes, and is no error."""
    nginx = make_nginx(("gzip off;", "gzip on; gzip_types text/event-stream; gzip_proxied any;"))
    findings = await check_url(nginx.url, make_settings(**SETTINGS), OPTIONS)
    assert told(findings) == []
    assert ["compresses" in one for one in told(findings, Level.NOTE)] == [True]


async def test_cut_in_silence(
    start_gateway: StartGateway, tmp_path: Path, make_settings: MakeSettings
) -> None:
    """A proxy that cuts what is silent for a shorter time than a heartbeat takes is found, and not
    taken for one that limits the whole time."""
    given = {**SETTINGS, "heartbeat_seconds": 5}
    nginx = Nginx(tmp_path, (await start_gateway(**given)).url)
    # nginx moves a timer only by 300 ms or more.
    nginx.replace("proxy_read_timeout 86400s;", "proxy_read_timeout 700ms;")
    nginx.start()
    try:
        findings = await check_url(nginx.url, make_settings(**given), OPTIONS)
    finally:
        nginx.stop()
    [error] = told(findings)
    assert "was cut in its silence" in error


@asynccontextmanager
async def proxy(gateway: RunningGateway, most_seconds: float | None) -> AsyncIterator[str]:
    """A proxy before *gateway* that cuts streams so old; None: gives all out at the end."""

    async def handle(request: web.Request) -> web.StreamResponse:
        headers = {name: value for name, value in request.headers.items() if name != "Host"}
        async with gateway.session.get(gateway.url + request.raw_path, headers=headers) as answer:
            response = web.StreamResponse(status=answer.status)
            response.content_type = answer.content_type
            if most_seconds is None:
                body = await answer.read()
                return web.Response(
                    body=body, content_type=answer.content_type, status=answer.status
                )
            await response.prepare(request)
            try:
                async with asyncio.timeout(most_seconds):
                    async for chunk in answer.content.iter_any():
                        await response.write(chunk)
            except TimeoutError:
                pass
            return response

    application = web.Application()
    application.router.add_get("/{path:.*}", handle)
    async with served(application) as url:
        yield url


async def test_held_back(
    registry: RunningGateway, make_settings: MakeSettings, redis: Redis
) -> None:
    """A proxy that gives nothing out before the end is found, and nothing of the probe stays."""
    async with proxy(registry, most_seconds=None) as url:
        settings = make_settings(**SETTINGS, ownership_wait_seconds=0.2)
        findings = await check_url(url, settings, OPTIONS)
    assert ["only when it ends" in one for one in told(findings)] == [True], findings
    assert [key async for key in redis.scan_iter("*sse-gateway-check-*")] == []


@pytest.mark.parametrize(("silence", "is_found"), [(0.2, False), (3.0, True)])
async def test_cut_for_its_age(
    registry: RunningGateway, make_settings: MakeSettings, silence: float, is_found: bool
) -> None:
    """Where a proxy cuts streams in spite of heartbeats and events, as Envoy by `timeout`, a longer
    silence finds it, and the remedy is another one than for silence."""
    async with proxy(registry, most_seconds=2.5) as url:
        findings = await check_url(url, make_settings(**SETTINGS), Options(silence))
    assert any("limits the whole time" in one for one in told(findings)) is is_found, findings
    assert any("timeout: 0s" in one.remedy for one in findings) is is_found, findings


async def test_closed_by_the_gateway(
    start_gateway: StartGateway, make_settings: MakeSettings
) -> None:
    """What the gateway ends itself is not taken for a proxy's doing."""
    gateway = await start_gateway(**SETTINGS, max_stream_seconds=0.5)
    findings = await check_url(gateway.url, make_settings(**SETTINGS), OPTIONS)
    assert ["The gateway ended" in one and "max_age" in one for one in told(findings)] == [True]


async def test_another_secret(registry: RunningGateway, make_settings: MakeSettings) -> None:
    """A gateway with another secret refuses, and what it says is passed on; the token is not."""
    settings = make_settings(**SETTINGS, jwt_secret=SECRET[::-1])
    findings = await check_url(registry.url, settings, OPTIONS)
    [sentence] = told(findings)
    assert "refused with 401 (invalid_token)" in sentence
    assert "eyJ" not in str(findings)


async def test_another_redis(
    registry: RunningGateway, make_settings: MakeSettings, redis_process: Any
) -> None:
    """Settings with another Redis than the gateway's: it knows nothing of the probe."""
    settings = make_settings(**SETTINGS, redis_url=redis_process().gateway_url)
    [sentence] = told(await check_url(registry.url, settings, OPTIONS))
    assert "refused with 404" in sentence


async def test_no_token(registry: RunningGateway, make_settings: MakeSettings) -> None:
    """Where the check can sign no token it says what it takes."""
    given = {"ownership": "backend", "backend_url": "http://127.0.0.1:1/{execution_id}"}
    findings = await check_url(registry.url, make_settings(**given), OPTIONS)
    [note] = [one for one in findings if one.level is Level.NOTE]
    assert "--token" in note.remedy


async def test_wrong_address(make_settings: MakeSettings) -> None:
    """What is no URL, and an address where nothing answers, are reported as such."""
    for url, said in (("nonsense", "no URL"), (f"http://127.0.0.1:{free_port()}", "Nothing")):
        [finding] = await check_url(url, make_settings(), OPTIONS)
        assert finding.level is Level.ERROR
        assert said in finding.sentence


async def test_no_false_alarm(
    redis: Redis, make_settings: MakeSettings, caplog: pytest.LogCaptureFixture
) -> None:
    """A probe that is gone again does not count as an execution that nobody registered; any other
    does."""
    watch = UnregisteredWatch(Registry(redis), 0.01)
    watch.note_events(Probe(redis, make_settings(), "acme").execution_id, 1)
    watch.note_events("run-1", 1)
    async with ticking(watch.tick_seconds, watch.tick):
        await eventually(lambda: caplog.records)
    assert "1 events arrived for 1 executions" in caplog.text
