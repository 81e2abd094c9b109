"""Limits of requests without valid credentials, and hidden requests."""

import logging
from collections.abc import AsyncIterator
from urllib.parse import quote

import pytest
import yarl
from aiohttp import web
from redis.asyncio import Redis

from gateway.app import create_application
from gateway.http.request_limits import BODY
from gateway.server import Server
from tests.conftest import MakeSettings, RunningGateway, StartGateway, credentials
from tests.harness.raw import GET, HEALTH, STREAM, Connection, say
from tests.http.conftest import path
from tests.http.smuggling import DIRECT_ATTACKS, HIDDEN, HIDDEN_PATH
from tests.support import DEADLINE, producer_message

SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "vary": "Origin",
    "server": "sse-gateway",
}

SECRETIVE = "a-word-that-no-answer-repeats"

UNPARSABLE = {
    "no HTTP": (f"{SECRETIVE}\r\n\r\n", 400),
    "TLS": ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 400),
    "version": (f"GET {HEALTH}?{SECRETIVE} HTTP/9.9\r\nHost: x\r\n\r\n", 400),
    "no host": (f"GET {HEALTH}?{SECRETIVE} HTTP/1.1\r\n\r\n", 400),
    "header": (f"{GET}{SECRETIVE}\r\n\r\n", 400),
    "control character": (f"{GET}X: {SECRETIVE}\x00\r\n\r\n", 400),
    "target": (f"GET http://[{SECRETIVE} HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "long target": (f"GET {HEALTH}?{SECRETIVE * 400} HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    "long header": (f"{GET}X: {SECRETIVE * 400}\r\n\r\n", 431),
    "many headers": (GET + "".join(f"X{n}: {SECRETIVE}\r\n" for n in range(70)) + "\r\n", 431),
    "expectation": (f"{GET}Expect: {SECRETIVE}\r\n\r\n", 417),
}


@pytest.mark.parametrize("case", UNPARSABLE)
async def test_unparsable(gateway: RunningGateway, case: str) -> None:
    """What is no request gets an answer in our form, which repeats nothing of it, and the end of
    its connection; a request that is well is answered there, and again on the same connection."""
    request, status = UNPARSABLE[case]
    said = await say(gateway.url, request)
    assert said.statuses == [status]
    assert said.closed
    assert set(said.json()) == {"error", "message"}
    assert said.headers.items() >= SECURITY_HEADERS.items()
    assert said.headers["content-type"] == "application/json"
    assert SECRETIVE.encode() not in said.data
    well = await say(gateway.url, f"{GET}\r\n{GET}\r\n", quiet=0.3, answers=2)
    assert (well.statuses, well.closed) == ([200, 200], False)


async def test_a_path_of_slashes_is_not_routed(gateway: RunningGateway) -> None:
    """At each slash aiohttp would look for a route, and copy the path."""
    said = await say(gateway.url, f"GET {'/a' * 65} HTTP/1.1\r\nHost: gateway\r\n\r\n")
    assert (said.statuses, said.closed) == ([404], True)
    assert gateway.components.metrics.refusals["not_found"] == 1


async def test_security_headers(start_gateway: StartGateway, redis: Redis) -> None:
    """The security headers stand on every kind of answer: a stream, a document, 204, 304, a
    preflight, and all refusals."""
    gateway = await start_gateway(ownership="token", cors_origins="https://app.example.com")
    reader = await gateway.open("run-1")
    await redis.publish("execution:run-1", producer_message("execution:completed"))
    end = await reader.expect("execution:completed")
    document = await gateway.session.get(gateway.url + path(), headers=credentials())
    preflight = {
        "Origin": "https://app.example.com",
        "Access-Control-Request-Method": "GET",
    }
    tag = {"If-None-Match": document.headers["ETag"]}
    seen = [reader.response, document]
    for method, target, headers in (
        ("GET", STREAM, {**credentials(), "Last-Event-ID": end.id or ""}),
        ("GET", path(), {**credentials(), **tag}),
        ("HEAD", path(), credentials()),
        ("OPTIONS", STREAM, preflight),
        ("OPTIONS", STREAM, {**preflight, "Origin": "https://evil.example"}),
        ("GET", STREAM, {}),
        ("GET", STREAM, credentials("other")),
        ("POST", STREAM, credentials()),
        ("GET", "/nowhere", {}),
    ):
        seen.append(await gateway.session.request(method, gateway.url + target, headers=headers))
    statuses = [response.status for response in seen]
    assert statuses == [200, 200, 204, 304, 200, 200, 403, 401, 200, 405, 404]
    for response in seen:
        for name, value in SECURITY_HEADERS.items():
            assert response.headers.getall(name) == [value], (response.status, name)
        response.close()


@pytest.mark.parametrize("in_query", [False, True])
async def test_long_token(gateway: RunningGateway, in_query: bool) -> None:
    """A token of 4 KiB works in the header and in the query."""
    headers = credentials(subject="x" * 3000)
    token = headers["Authorization"]
    assert len(token) > 4096
    url = gateway.stream_url("run-1")
    if in_query:
        url += f"?Authorization={quote(token)}&organization_id=acme"
        headers = {}
    async with gateway.session.get(yarl.URL(url, encoded=True), headers=headers) as response:
        assert response.status == 200


async def test_many_parameters(gateway: RunningGateway) -> None:
    """Sixteen parameters are taken, seventeen refused."""
    for count, status in ((16, 200), (17, 400)):
        query = "&".join(["a=b"] * count)
        url = f"{gateway.stream_url('run-1')}?{query}"
        async with gateway.session.get(url, headers=credentials()) as response:
            assert response.status == status
            if status == 400:
                assert (await response.json())["error"] == "too_many_parameters"


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE", "PUT"])
@pytest.mark.parametrize(
    "body", ["Content-Length: 3\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"]
)
async def test_no_body(gateway: RunningGateway, method: str, body: str) -> None:
    """A body where none may be is a 400, and the connection ends; `Content-Length: 0` is none."""
    start = f"{method} {HEALTH} HTTP/1.1\r\nHost: x\r\n"
    said = await say(gateway.url, f"{start}{body}{GET}\r\n")
    assert (said.statuses, said.closed) == ([400], True)
    assert said.headers["connection"] == "close"
    if method != "HEAD":
        assert said.json()["error"] == "body_not_allowed"
    well = await say(
        gateway.url, f"{start}Content-Length: 0\r\n\r\n{GET}\r\n", quiet=0.3, answers=2
    )
    assert (len(well.statuses), well.statuses[-1], well.closed) == (2, 200, False)


@pytest.fixture
async def posting(make_settings: MakeSettings) -> AsyncIterator[str]:
    """The URL of a gateway with one more route, which answers with what was posted."""

    async def echo(request: web.Request) -> web.Response:
        return web.Response(body=request[BODY])

    settings = make_settings(header_timeout_seconds=0.3)
    application = create_application(settings)
    application.router.add_post("/echo", echo)
    server = Server(settings, application)
    await server.start()
    yield server.url + "/echo"
    await server.stop()


_POST = "POST /echo HTTP/1.1\r\nHost: x\r\n"
BAD_BODIES = {
    "declared": (f"{_POST}Content-Length: 1025\r\n\r\n", 413, "body_too_large"),
    "chunked": (
        f"{_POST}Transfer-Encoding: chunked\r\n\r\n401\r\n{'x' * 1025}\r\n0\r\n\r\n",
        413,
        "body_too_large",
    ),
    "slow": (f"{_POST}Content-Length: 9\r\n\r\nabc", 408, "request_timeout"),
}


@pytest.mark.parametrize("case", BAD_BODIES)
async def test_posted_body(posting: str, case: str) -> None:
    """A POST's body has at most 1 KiB and arrives in time, or is refused and its connection ends;
    one that keeps to it reaches the handler, and is not unpacked."""
    request, status, code = BAD_BODIES[case]
    said = await say(posting, request, quiet=DEADLINE)
    assert (said.statuses, said.closed) == ([status], True)
    assert said.json()["error"] == code
    head = f"{_POST}Content-Encoding: gzip\r\nContent-Length: 1024\r\n\r\n"
    well = await say(posting, head + "x" * 1024, quiet=0.3)
    assert well.statuses == [200]
    assert well.data.endswith(b"\r\n\r\n" + b"x" * 1024)
    assert not well.closed


@pytest.mark.parametrize("name", DIRECT_ATTACKS)
async def test_smuggling(
    gateway: RunningGateway, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """A request hidden in another one is never served; sent openly it is seen."""
    caplog.set_level(logging.INFO, "gateway.access_log")
    said = await say(gateway.url, DIRECT_ATTACKS[name])
    assert len(said.statuses) == 1
    assert said.statuses[0] >= 400
    assert said.closed
    assert HIDDEN_PATH not in caplog.text
    assert (await say(gateway.url, HIDDEN, quiet=0.3)).statuses == [404]
    assert HIDDEN_PATH in caplog.text


@pytest.mark.parametrize("id_", ["%2e%2e%2fx", "a%00", "a%0A", "a%0D%0A", "%ff", "%D9%A1", "a%2Fb"])
async def test_ids(gateway: RunningGateway, id_: str) -> None:
    """An id of another form is a 400 in JSON on both paths, and a workflow id of any bytes that
    fit into a request is accepted."""
    for target in (f"/api/v1/sse/executions/{id_}/stream", path(id_)):
        url = yarl.URL(gateway.url + target, encoded=True)
        async with gateway.session.get(url, headers=credentials()) as response:
            assert response.status == 400
            assert (await response.json())["error"] == "malformed_execution_id"
    for workflow_id in (id_, "w" * 7000):
        url = yarl.URL(gateway.url + path("run-1", workflow_id), encoded=True)
        async with gateway.session.get(url, headers=credentials()) as response:
            assert response.status == 200
            assert (await response.json())["status"] == "pending"


async def test_pipelining(gateway: RunningGateway) -> None:
    """A hundred requests at once on one connection are answered in order, each once."""
    connection = await Connection.open(gateway.url)
    connection.send(f"{GET}\r\n" * 100)
    said = await connection.hear(0.3, answers=100)
    connection.close()
    assert said.statuses == [200] * 100
