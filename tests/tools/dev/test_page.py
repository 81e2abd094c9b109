"""What the page is made of, as any HTTP client sees it."""

from functools import partial
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import pytest
from aiohttp import web
from redis.asyncio import Redis

from gateway.bus.registry import register
from gateway.http.responses import error_middleware
from gateway.metrics import Metrics
from gateway.publisher import Publisher
from gateway.settings import load
from gateway.tools.dev.control import Offer, add_control
from gateway.tools.dev.heard import HeardRuns
from tests.conftest import StartGateway
from tests.harness.sse import SseReader
from tests.support import SECRET, eventually, producer_message
from tests.tools.dev.conftest import Principal, StartViewer

FILES = {
    "/": "text/html; charset=utf-8",
    "/page/page.css": "text/css; charset=utf-8",
    "/page/run.css": "text/css; charset=utf-8",
    "/page/CONTRACT.md": "text/plain; charset=utf-8",
    "/page/page.js": "text/javascript; charset=utf-8",
}


async def test_session(start_viewer: StartViewer, redis: Redis) -> None:
    """`/dev/session` gives a token that opens a stream; nothing keeps a copy of it."""
    principal = await start_viewer(pace=None)
    async with principal.session.get(f"{principal.url}/dev/session") as response:
        session = await response.json()
        assert response.headers["Cache-Control"] == "no-store"
        assert not [name for name in response.headers if name.startswith("Access-Control")]
    assert session.keys() == {"token", "organization_id", "expires_in", "engine", "restarts"}
    assert session["expires_in"] == 3600
    query = {
        "Authorization": f"Bearer {session['token']}",
        "organization_id": session["organization_id"],
    }
    url = f"{principal.url}/api/v1/sse/executions/demo/stream"
    async with principal.session.get(url, params=query) as response:
        reader = SseReader(response)
        await reader.expect("connected")
        await redis.publish("execution:demo", producer_message("step:started"))
        await reader.expect("step:started")


async def listed(principal: Principal) -> dict[str, dict[str, Any]]:
    """What the page lists, by execution."""
    answer = await principal.json("/dev/executions")
    return {one["id"]: one for one in answer["executions"]}


async def test_executions(start_viewer: StartViewer, redis: Redis) -> None:
    """`/dev/executions` lists all that the gateway hears: simulated runs, and those of workers that
    it knows nothing else of, with the workflow that they are registered with."""
    principal = await start_viewer(pace=100)
    await register(redis, "mine", "acme", "invoices")
    await redis.publish("execution:mine", producer_message("step:started", node_id="n1"))
    await redis.publish("execution:mine", producer_message("step:completed", node_id="n1"))

    async def heard() -> bool:
        runs = await listed(principal)
        return {"demo", "mine"} <= runs.keys() and runs["mine"]["steps_completed"] == 1

    await eventually(heard)
    runs = await listed(principal)
    assert (runs["demo"]["simulated"], runs["demo"]["workflow_id"]) == (True, "dev-demo")
    assert (runs["mine"]["simulated"], runs["mine"]["workflow_id"]) == (False, "invoices")
    assert runs["mine"]["status"] == "running"


async def test_what_was_missed_while_redis_was_away_is_read_from_history(
    start_viewer: StartViewer, redis: Redis, redis_url: str
) -> None:
    """A run does not stay "running" in the list because its end was published between two
    subscriptions; of one that goes on, the missed steps count beside those that follow."""
    principal = await start_viewer(pace=None)

    async def shows(execution_id: str, status: str, steps: int) -> bool:
        run = (await listed(principal)).get(execution_id, {})
        return (run.get("status"), run.get("steps_completed")) == (status, steps)

    step = {"node_id": "n1", "node_type": "email"}
    # What is published under another prefix is in history, and this gateway does not hear it.
    async with (
        Publisher(redis_url) as heard,
        Publisher(redis_url, channel_prefix="elsewhere:") as unheard,
    ):
        for execution_id in ("ends", "goes-on"):
            await heard.publish(execution_id, "step:completed", step)
            await eventually(partial(shows, execution_id, "running", 1))
            await unheard.publish(execution_id, "step:completed", {**step, "node_id": "n2"})
        await unheard.publish("ends", "execution:failed", {"error_message": "no"})
        await redis.client_kill_filter(_type="pubsub")
        await eventually(partial(shows, "ends", "failed", 2))
        await eventually(partial(shows, "goes-on", "running", 2))
        await heard.publish("goes-on", "step:completed", {**step, "node_id": "n3"})
        await eventually(partial(shows, "goes-on", "running", 3))


async def test_no_engine(start_viewer: StartViewer) -> None:
    """Without an engine the list is empty, which is JSON that nothing keeps."""
    principal = await start_viewer(pace=None)
    async with principal.session.get(f"{principal.url}/dev/executions") as response:
        assert (await response.json())["executions"] == []
        assert response.content_type == "application/json"
        assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", FILES)
async def test_files(start_viewer: StartViewer, path: str) -> None:
    """Each file has its type and headers that let nothing foreign run, and names no other host."""
    principal = await start_viewer(pace=None)
    async with principal.session.get(principal.url + path) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == FILES[path]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        text = await response.text()
    assert path.endswith(".md") or "://" not in text
    assert "innerHTML" not in text


async def test_the_address_of_serve_says_what_it_is(start_gateway: StartGateway) -> None:
    """A gateway that is not told to serve the page says at its address what it is, how it is, and
    how to switch the page on; and none gives out tokens."""
    gateway = await start_gateway(ownership="token")
    for path in ("/page/page.js", "/page/CONTRACT.md", "/dev/session", "/dev/executions"):
        async with gateway.session.get(gateway.url + path) as response:
            assert response.status == 404, path
    async with gateway.session.get(f"{gateway.url}/") as response:
        assert response.status == 200
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        text = await response.text()
    assert "GATEWAY_PAGE=true" in text
    assert ">healthy<" in text
    gateway.components.supervisor.failures["feed"] = "<b>"
    async with gateway.session.get(f"{gateway.url}/") as response:
        text = await response.text()
    assert ">unhealthy<" in text
    assert "<b>" not in text
    shown = await start_gateway(ownership="token", page=True)
    for path, status in (("/", 200), ("/page/page.js", 200), ("/dev/session", 404)):
        async with shown.session.get(shown.url + path) as response:
            assert response.status == status, path


@pytest.mark.parametrize("ending", ["completed", "failed", "canceled"])
async def test_started(start_viewer: StartViewer, ending: str) -> None:
    """An execution that is started with an ending ends so, after it was paused and approved."""
    principal = await start_viewer(pace=30)
    run = (await order(principal, "", {"ending": ending}))["id"]

    async def status() -> str:
        return str((await listed(principal)).get(run, {}).get("status"))

    assert (await order(principal, f"/{run}/pause"))["done"]

    async def paused() -> bool:
        return await status() == "paused"

    await eventually(paused)
    assert (await order(principal, f"/{run}/approve"))["done"]

    async def ended() -> bool:
        return await status() == ending

    await eventually(ended)
    assert not (await order(principal, f"/{run}/pause"))["done"]


async def order(principal: Principal, path: str, body: object = None) -> dict[str, Any]:
    url = f"{principal.url}/dev/executions{path}"
    async with principal.session.post(url, json=body or {}) as response:
        assert response.status in (200, 201), await response.text()
        document: dict[str, Any] = await response.json()
        return document


async def test_orders_of_others(start_viewer: StartViewer) -> None:
    """A page of another origin cannot order anything: no order is taken without the content type
    that its browser would have to ask for first, and nothing made up is one."""
    principal = await start_viewer(pace=1)
    url = f"{principal.url}/dev/executions"
    async with principal.session.post(
        url, data=b"{}", headers={"Content-Type": "text/plain"}
    ) as said:
        assert said.status == 400
    async with principal.session.post(url, json={"ending": "badly"}) as said:
        assert said.status == 400
        assert "completed, failed, canceled, long" in (await said.json())["message"]
    async with principal.session.options(url, headers={"Origin": "https://evil.example"}) as said:
        assert "Access-Control-Allow-Origin" not in said.headers


OWN_HOSTS = (
    "127.0.0.1:{port}",
    "localhost:{port}",
    "LOCALHOST",
    "app.localhost:80",
    "[::1]:{port}",
)
FOREIGN_HOSTS = (
    *("evil.example", "evil.example:{port}", "localhost.evil.example"),
    *("192.0.2.7:{port}", "[::2]", "[", "localhost:x@evil.example"),
)
ASKED = (
    ("GET", "/dev/session"),
    *(("GET", "/dev/executions"), ("GET", "/dev/published")),
    ("POST", "/dev/executions"),
    ("POST", "/dev/executions/demo/pause"),
    ("POST", "/dev/executions/demo/approve"),
    *(("POST", "/dev/executions/demo/cut"), ("POST", "/dev/restart")),
)


async def ask(principal: Principal, method: str, path: str, **headers: str) -> tuple[int, str]:
    """Status and body; Content-Type and the body are those of the page."""
    headers = {name: value.format(port=principal.port) for name, value in headers.items()}
    body: dict[str, str] | None = {} if method == "POST" else None
    async with principal.session.request(
        method, principal.url + path, headers=headers, json=body
    ) as response:
        assert not [name for name in response.headers if name.startswith("Access-Control")]
        return response.status, await response.text()


@pytest.mark.parametrize(("method", "path"), ASKED)
async def test_foreign_host(start_viewer: StartViewer, method: str, path: str) -> None:
    """A page whose name was made to resolve to this machine (DNS rebinding) gets no token, sees no
    list and orders nothing; this machine's own names and addresses do."""
    principal = await start_viewer(pace=1)
    for host in FOREIGN_HOSTS:
        status, body = await ask(principal, method, path, Host=host)
        assert (status, "eyJ" in body) == (403, False), host
        assert "host_forbidden" in body
    for host in OWN_HOSTS:
        assert (await ask(principal, method, path, Host=host))[0] != 403, host


@pytest.mark.parametrize(("method", "path"), ASKED)
async def test_foreign_origin(start_viewer: StartViewer, method: str, path: str) -> None:
    """A page of another origin orders nothing and gets no token, whatever its content type; the
    gateway's own page does."""
    principal = await start_viewer(pace=1)
    for origin in (
        "https://evil.example",
        "null",
        "",
        "http://127.0.0.1:1",
        "http://localhost:{port}",
    ):
        status, body = await ask(principal, method, path, Origin=origin)
        assert (status, "eyJ" in body) == (403, False), origin
        assert "origin_forbidden" in body
    assert (await ask(principal, method, path, Origin="http://127.0.0.1:{port}"))[0] != 403


@pytest.mark.parametrize(
    ("bound", "own", "foreign"),
    [
        ("0.0.0.0", ("192.0.2.7", "[2001:db8::1]:80", "localhost"), ("evil.example", "")),
        ("::", ("192.0.2.7", "[2001:db8::1]:80"), ("evil.example",)),
        ("192.0.2.7", ("192.0.2.7:8080", "127.0.0.1"), ("192.0.2.8", "evil.example")),
        ("My-Box.lan", ("my-box.lan:8080",), ("other.lan",)),
    ],
)
async def test_what_was_bound(
    aiohttp_client: Any, bound: str, own: tuple[str, ...], foreign: tuple[str, ...]
) -> None:
    """What the user has chosen to listen on is the gateway's own: that name or address, or every
    address, which no DNS answer can change."""
    application = web.Application(middlewares=[error_middleware(Metrics())])
    runs = HeardRuns(AsyncMock(), AsyncMock(), {})
    settings = load(None, host=bound, jwt_secret=SECRET, redis_url="redis://127.0.0.1")
    add_control(application, MagicMock(), runs, settings, Offer("1", False, ()), AsyncMock())
    client = await aiohttp_client(application)
    for hosts, expected in ((own, 200), (foreign, 403)):
        for host in hosts:
            async with client.get("/dev/session", headers={"Host": host}) as response:
                assert response.status == expected, host


async def test_enough(start_viewer: StartViewer) -> None:
    """Starting more and more executions is refused at a limit."""
    principal = await start_viewer(pace=0.01)
    statuses = []
    for _ in range(40):
        async with principal.session.post(f"{principal.url}/dev/executions", json={}) as response:
            statuses.append(response.status)
    assert statuses[0] == 201
    assert statuses[-1] == 429
