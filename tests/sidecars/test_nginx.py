"""The site file under a real nginx: events pass at once, and no token reaches a log."""

import asyncio
import re
import statistics
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from aiohttp import ClientPayloadError, ClientSession, web
from aiohttp.test_utils import TestServer
from aiohttp.typedefs import Handler
from redis.asyncio import Redis

from tests.conftest import MakeSettings, RunningGateway, StartGateway, credentials
from tests.harness.nginx import SITE, Nginx
from tests.harness.sse import SseReader, parse_sse
from tests.sidecars.routes import answers
from tests.support import eventually, free_port, producer_message

MakeNginx = Callable[[str], Nginx]
STREAM = "/api/v1/sse/executions/run-1/stream"
TOKEN = "a-token-that-no-log-may-show"
WITH_TOKEN = f"{STREAM}?Authorization=Bearer%20{TOKEN}&organization_id=acme"


@pytest.fixture
def make_nginx(tmp_path: Path) -> Iterator[MakeNginx]:
    """Makes an nginx in front of a URL, not started yet; stops it after the test."""
    made: list[Nginx] = []

    def make(upstream: str) -> Nginx:
        prefix = tmp_path / f"nginx-{len(made)}"
        prefix.mkdir()
        made.append(Nginx(prefix, upstream))
        return made[-1]

    yield make
    for nginx in made:
        nginx.stop()


def test_clean(make_nginx: MakeNginx) -> None:
    """`nginx -t` finds nothing to say about the site file."""
    said = make_nginx("http://127.0.0.1:8080").check().splitlines()
    assert [line.split()[-1] for line in said] == ["ok", "successful"], said


def test_document() -> None:
    """The location block has the values that the front-end developers' document gives."""
    block = re.search(r"location /api/v1/sse/ \{(.*?)\}", SITE.read_text(), re.DOTALL)
    assert block is not None
    lines = {line.strip() for line in block[1].splitlines()}
    assert lines >= {
        "proxy_pass http://backend;",
        "proxy_http_version 1.1;",
        'proxy_set_header Connection "";',
        "proxy_buffering off;",
        "proxy_cache off;",
        "proxy_read_timeout 86400s;",
    }


@pytest.mark.alone
async def test_unbuffered(gateway: RunningGateway, redis: Redis, make_nginx: MakeNginx) -> None:
    """An event published arrives through nginx within 50 ms, before the next is published."""
    nginx = make_nginx(gateway.url)
    nginx.start()
    response = await gateway.session.get(nginx.url + STREAM, headers=credentials())
    assert response.status == 200
    reader = SseReader(response)
    await reader.expect("connected")
    seconds = []
    for position in range(11):
        began = asyncio.get_running_loop().time()
        await redis.publish("execution:run-1", producer_message("step:started", position=position))
        seen = await reader.expect("step:started")
        seconds.append(asyncio.get_running_loop().time() - began)
        assert seen.json()["data"] == {"position": position}
    # The median: this machine may be busy with something else for a moment.
    assert statistics.median(seconds) < 0.05, seconds


async def test_end(gateway: RunningGateway, redis: Redis, make_nginx: MakeNginx) -> None:
    """The clean end after the terminal event is a clean end behind nginx too."""
    nginx = make_nginx(gateway.url)
    nginx.start()
    reader = SseReader(await gateway.session.get(nginx.url + STREAM, headers=credentials()))
    await reader.expect("connected")
    await redis.publish("execution:run-1", producer_message("execution:completed"))
    assert [seen.event for seen in await reader.rest()] == ["execution:completed"]


async def test_forwarded(make_nginx: MakeNginx) -> None:
    """The gateway learns the host and the peer, gets an id for its log, and HTTP/1.1."""

    async def tell(request: web.Request) -> web.Response:
        return web.json_response({**request.headers, "version": request.version})

    async with TestServer(_application(tell)) as upstream, ClientSession() as session:
        nginx = make_nginx(str(upstream.make_url("")))
        nginx.start()
        headers = {"Host": "gateway.example.com", "X-Request-ID": "forged"}
        async with session.get(nginx.url + STREAM, headers=headers) as response:
            told = await response.json()
    assert (told["Host"], told["X-Forwarded-For"]) == ("gateway.example.com", "127.0.0.1")
    assert re.fullmatch("[0-9a-f]{32}", told["X-Request-ID"])
    assert told["version"] == [1, 1]
    assert "Connection" not in told
    # nginx writes its line after the answer has gone.
    await eventually(lambda: f"request_id={told['X-Request-ID']}" in nginx.logged())


async def test_token_stays_secret(make_nginx: MakeNginx) -> None:
    """No token reaches a log of nginx, whether the gateway is dead, refuses, or breaks off."""
    dead = make_nginx(f"http://127.0.0.1:{free_port()}")
    async with TestServer(_application(_break_off)) as upstream:
        broken = make_nginx(str(upstream.make_url("")))
        for nginx, statuses in ((dead, [502, 414]), (broken, [200, 414])):
            nginx.start()
            assert await _statuses(nginx) == statuses
            await eventually(partial(_has_logged, nginx, 2))
            assert TOKEN not in nginx.logged()
            assert f'"GET {STREAM} HTTP/1.1" {statuses[0]}' in nginx.logged()


async def test_why_the_error_log_is_silent(make_nginx: MakeNginx) -> None:
    """Without the line that silences it, nginx's error log would show the token."""
    nginx = make_nginx(f"http://127.0.0.1:{free_port()}")
    nginx.replace("error_log logs/sse-gateway.error.log emerg;", "")
    nginx.start()
    await _statuses(nginx)
    await eventually(lambda: TOKEN in nginx.logged())


async def test_no_gateway(make_nginx: MakeNginx) -> None:
    """While no gateway answers, an event stream is told to come back, not all at one moment, in a
    200 that pages of a listed origin may read too; any other request gets the 502."""
    nginx = make_nginx(f"http://127.0.0.1:{free_port()}")
    nginx.list_origin("https://app.example.com")
    nginx.start()
    headers = {"Accept": "text/event-stream", "Origin": "https://app.example.com"}
    retries = set()
    async with ClientSession() as session:
        for _ in range(40):
            async with session.get(nginx.url + STREAM, headers=headers) as response:
                assert response.status == 200
                assert response.content_type == "text/event-stream"
                allowed = response.headers["Access-Control-Allow-Origin"]
                [closing] = parse_sse(await response.read())
            assert (closing.event, allowed) == ("stream:closing", headers["Origin"])
            assert closing.json() == {"reason": "unavailable", "retry_ms": closing.retry}
            retries.add(closing.retry or 0)
        for path in (STREAM, "/api/v1/sse/health", "/api/v1/workflows/wf/runs/run-1"):
            async with session.get(nginx.url + path) as response:
                assert response.status == 502
    assert len(retries) > 1
    assert min(retries) >= 1000


async def test_refusals_pass(gateway: RunningGateway, make_nginx: MakeNginx) -> None:
    """What a gateway itself answers is not replaced, whatever its status."""
    nginx = make_nginx(gateway.url)
    nginx.start()
    async with gateway.session.get(
        nginx.url + STREAM, headers={"Accept": "text/event-stream"}
    ) as response:
        assert response.status == 401
        assert (await response.json())["error"] == "token_missing"


async def test_every_route_passes(
    start_gateway: StartGateway, make_settings: MakeSettings, make_nginx: MakeNginx
) -> None:
    """What the gateway does not serve is nginx's own 404."""
    gateway, settings = await start_gateway(publish=True), make_settings(publish=True)
    nginx = make_nginx(gateway.url)
    nginx.start()
    own = await answers(gateway.session, gateway.url, settings)
    assert len(own) > 10
    assert await answers(gateway.session, nginx.url, settings) == own
    async with gateway.session.get(f"{nginx.url}/other") as response:
        assert (response.status, response.content_type) == (404, "text/html")


def _application(handler: Handler) -> web.Application:
    application = web.Application()
    application.router.add_get(STREAM, handler)
    return application


async def _break_off(request: web.Request) -> web.StreamResponse:
    """Begins a stream and cuts the connection, as a gateway does that is killed."""
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"event: connected\ndata: {}\n\n")
    assert request.transport is not None
    request.transport.abort()
    return response


async def _statuses(nginx: Nginx) -> list[int]:
    """What nginx answers to a request with a token, and to one whose line is too long."""
    statuses = []
    async with ClientSession() as session:
        for path in (WITH_TOKEN, WITH_TOKEN + "&padding=" + "x" * 40_000):
            async with session.get(nginx.url + path) as response:
                statuses.append(response.status)
                try:
                    await response.read()
                except ClientPayloadError:
                    assert response.status == 200
    return statuses


def _has_logged(nginx: Nginx, requests: int) -> bool:
    log = nginx.prefix / "logs" / "sse-gateway.access.log"
    return len(log.read_text().splitlines()) == requests
