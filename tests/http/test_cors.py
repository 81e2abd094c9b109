"""Pages of other origins, as a browser asks for them."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.http import cors
from gateway.http.cors import add_cors
from gateway.settings import Settings
from tests.conftest import RunningGateway, StartGateway, credentials
from tests.http.conftest import path
from tests.support import SECRET, eventually

ORIGIN = "https://app.example.com"
CONTRACT_HEADERS = (
    "authorization,x-organization-id,last-event-id,if-none-match,cache-control,content-type,"
    "traceparent,tracestate,baggage,sentry-trace,x-requested-with,pragma,"
    "x-datadog-trace-id,x-datadog-sampling-priority"
)


async def test_allowed_origin(start_gateway: StartGateway) -> None:
    """A listed origin may read streams, and errors too, without cookies where none is set up; the
    answer varies by Origin."""
    gateway = await start_gateway(ownership="token", cors_origins=ORIGIN)
    for headers, status in ((credentials(), 200), ({}, 401)):
        async with gateway.session.get(
            gateway.stream_url("run-1"), headers={**headers, "Origin": ORIGIN}
        ) as response:
            assert response.status == status
            assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
            assert "Access-Control-Allow-Credentials" not in response.headers
            assert response.headers["Vary"] == "Origin"
            exposed = response.headers["Access-Control-Expose-Headers"]
            assert {"ETag", "Retry-After"} <= set(exposed.split(","))


async def test_an_origin_that_is_not_allowed_is_logged_once(
    start_gateway: StartGateway, caplog: pytest.LogCaptureFixture
) -> None:
    """Not a listed one, nor the gateway's own."""
    gateway = await start_gateway(ownership="token", cors_origins=ORIGIN)
    for origin in (ORIGIN, gateway.url, *["https://other.example"] * 3):
        headers = {**credentials(), "Origin": origin}
        async with gateway.session.get(gateway.stream_url("run-1"), headers=headers) as response:
            assert response.status == 200
    [line] = [one for one in caplog.messages if "origin" in one]
    assert "https://other.example is not allowed" in line
    assert "GATEWAY_CORS_ORIGINS" in line


async def test_an_origin_that_was_held_back_is_logged_when_it_comes_again(
    start_gateway: StartGateway, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line a second at most, so that strangers do not fill the log; a page whose streams alone
    are refused is named all the same."""
    monkeypatch.setattr(cors, "_ORIGINS_EVERY", 0.5)
    gateway = await start_gateway(ownership="token", cors_origins=ORIGIN)

    async def is_logged(origin: str) -> bool:
        headers = {**credentials(), "Origin": origin}
        async with gateway.session.get(gateway.stream_url("run-1"), headers=headers) as response:
            assert response.status == 200
        return origin in caplog.text

    assert await is_logged("https://one.example")
    await eventually(lambda: is_logged("https://two.example"))


async def test_preflight(start_gateway: StartGateway) -> None:
    """A preflight with every header of the contract is answered."""
    gateway = await start_gateway(ownership="token", cors_origins=ORIGIN)
    asked = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": CONTRACT_HEADERS,
    }
    async with gateway.session.options(gateway.stream_url("run-1"), headers=asked) as response:
        assert response.status == 200
        allowed = response.headers["Access-Control-Allow-Headers"].lower()
        assert set(CONTRACT_HEADERS.split(",")) <= set(allowed.split(","))
        assert response.headers["Vary"] == "Origin"


async def test_preflight_of_other_headers(start_gateway: StartGateway) -> None:
    """A refused preflight names the header and the setting, which adds headers and beginnings of
    headers; what is no header's name comes back nowhere."""
    gateway = await start_gateway(
        ownership="token", cors_origins=ORIGIN, cors_headers="X-Tenant, x-b3-*"
    )
    for asked, named in (
        ("x-tenant", None),
        ("Authorization, X-B3-TraceId ,x-b3-", None),
        ("authorization,x-other", "x-other"),
        ("x-tenant-id", "x-tenant-id"),
        ("x-b3", "x-b3"),
        ("x-datadog", "x-datadog"),
        ("x-tenant,<script>", "(not a name)"),
        ("x-b3-<script>", "(not a name)"),
        ("x-b3-" + "x" * 80, "(not a name)"),
    ):
        headers = {
            "Origin": ORIGIN,
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": asked,
        }
        async with gateway.session.options(
            gateway.stream_url("run-1"), headers=headers
        ) as response:
            assert response.status == (200 if named is None else 403), asked
            granted = response.headers.get("Access-Control-Allow-Headers", "")
            if named is None:
                assert len(granted.split(",")) == len(asked.split(","))
                continue
            refusal = await response.json()
            assert not granted
            assert refusal["error"] == "header_not_allowed"
            assert f"the header {named}:" in refusal["message"]
            assert "GATEWAY_CORS_HEADERS" in refusal["message"]


@pytest.mark.parametrize("origins", ["", ORIGIN])
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://app.example.com"])
async def test_other_origins(start_gateway: StartGateway, origins: str, origin: str) -> None:
    """An origin that is not listed gets no leave, and without a list nobody does."""
    gateway = await start_gateway(ownership="token", cors_origins=origins)
    async with gateway.session.get(
        gateway.stream_url("run-1"), headers={**credentials(), "Origin": origin}
    ) as response:
        assert "Access-Control-Allow-Origin" not in response.headers
        assert response.headers["Vary"] == "Origin"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", ORIGIN + ":443"])
async def test_preflight_of_other_origins(start_gateway: StartGateway, origin: str) -> None:
    """The preflight of an origin that is not listed is a 403 in JSON that grants and repeats
    nothing; the listed one's is answered."""
    gateway = await start_gateway(ownership="token", cors_origins=ORIGIN)
    for asking, status in ((origin, 403), (ORIGIN, 200)):
        asked = {"Origin": asking, "Access-Control-Request-Method": "GET"}
        async with gateway.session.options(gateway.stream_url("run-1"), headers=asked) as response:
            assert response.status == status
            granted = [name for name in response.headers if name.startswith("Access-Control-")]
            assert bool(granted) == (status == 200)
            if status == 403:
                assert (await response.json())["error"] == "forbidden"
                assert origin not in await response.text()


@pytest.mark.parametrize(
    ("settings", "credentials_too"),
    [
        ({}, False),
        ({"token_cookie": "session"}, True),
        ({"token_cookie": "session", "cors_credentials": False}, False),
        ({"cors_credentials": True}, True),
    ],
)
async def test_credentials_setting(
    start_gateway: StartGateway, settings: dict[str, Any], credentials_too: bool
) -> None:
    """Pages may send cookies along just where there is one for the gateway, or the setting says so
    (for the cookie of a proxy), also by their preflight."""
    gateway = await start_gateway(ownership="token", cors_origins=ORIGIN, **settings)
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "GET"}
    for method in ("GET", "OPTIONS"):
        async with gateway.session.request(
            method, gateway.stream_url("run-1"), headers={**credentials(), **asked}
        ) as response:
            assert response.status == 200
            assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
            allowed = response.headers.get("Access-Control-Allow-Credentials")
            assert allowed == ("true" if credentials_too else None)


async def test_head(start_gateway: StartGateway) -> None:
    """A HEAD of the run document may be read like its GET."""
    gateway = await start_gateway(ownership="token", cors_origins=ORIGIN)
    headers = {**credentials(), "Origin": ORIGIN}
    async with gateway.session.head(gateway.url + path(), headers=headers) as response:
        assert response.headers["Access-Control-Allow-Origin"] == ORIGIN


@pytest.fixture
async def posting() -> AsyncIterator[str]:
    """The URL of a path that can be posted to from the listed origin."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response()

    application = web.Application()
    application.router.add_post("/ticket", answer)
    settings = Settings(jwt_secret=SECRET, cors_origins=(ORIGIN,))
    add_cors(application, settings, list(application.router.routes()))
    async with TestServer(application) as server:
        yield str(server.make_url("/ticket"))


async def test_every_method_of_a_route(posting: str) -> None:
    """A route's own method passes the preflight, whichever it is, and no other one does."""
    async with aiohttp.ClientSession() as session:
        for method, status in (("POST", 200), ("GET", 403), ("DELETE", 403)):
            asked = {"Origin": ORIGIN, "Access-Control-Request-Method": method}
            async with session.options(posting, headers=asked) as response:
                assert response.status == status, method
        async with session.post(posting, headers={"Origin": ORIGIN}) as response:
            assert response.headers["Access-Control-Allow-Origin"] == ORIGIN


async def test_all_origins_without_credentials(start_gateway: StartGateway) -> None:
    """`*` lets every origin read, but never with the browser's own credentials."""
    gateway = await start_gateway(ownership="token", cors_origins="*", token_cookie="session")
    async with gateway.session.get(
        gateway.stream_url("run-1"), headers={**credentials(), "Origin": "https://any.example"}
    ) as response:
        assert response.headers["Access-Control-Allow-Origin"] in ("*", "https://any.example")
        assert "Access-Control-Allow-Credentials" not in response.headers


async def test_same_origin_without_origin_header(gateway: RunningGateway) -> None:
    """A request without Origin, as same-origin GETs are, is served."""
    async with await gateway.get("run-1") as response:
        assert response.status == 200
