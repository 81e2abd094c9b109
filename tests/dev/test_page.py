"""What the page is made of, as any HTTP client sees it."""

from typing import Any

import pytest
from redis.asyncio import Redis

from tests.conftest import StartGateway
from tests.dev.conftest import StartViewer, Viewer
from tests.support import SseReader, eventually, producer_message

FILES = {
    "/": "text/html; charset=utf-8",
    "/page/page.css": "text/css; charset=utf-8",
    "/page/page.js": "text/javascript; charset=utf-8",
    "/page/timeline.js": "text/javascript; charset=utf-8",
    "/page/list.js": "text/javascript; charset=utf-8",
    "/page/log.js": "text/javascript; charset=utf-8",
    "/page/session.js": "text/javascript; charset=utf-8",
    "/page/dom.js": "text/javascript; charset=utf-8",
}


async def test_session(start_viewer: StartViewer, redis: Redis) -> None:
    """`/dev/session` gives a token that opens a stream; nothing keeps a copy of it, and no page
    of another origin can read it."""
    viewer = await start_viewer(pace=None)
    headers = {"Origin": "https://elsewhere.example"}
    async with viewer.session.get(f"{viewer.url}/dev/session", headers=headers) as response:
        session = await response.json()
        assert response.headers["Cache-Control"] == "no-store"
        assert not [name for name in response.headers if name.startswith("Access-Control")]
    assert session.keys() == {"token", "organization_id", "expires_in"}
    assert session["expires_in"] == 3600
    query = {
        "Authorization": f"Bearer {session['token']}",
        "organization_id": session["organization_id"],
    }
    url = f"{viewer.url}/api/v1/sse/executions/demo/stream"
    async with viewer.session.get(url, params=query) as response:
        reader = SseReader(response)
        await reader.expect("connected")
        await redis.publish("execution:demo", producer_message("step:started"))
        await reader.expect("step:started")


async def test_executions(start_viewer: StartViewer) -> None:
    """`/dev/executions` is the engine's list."""
    viewer = await start_viewer(pace=100)

    async def listed() -> set[str]:
        return {one["id"] for one in await viewer.json("/dev/executions")}

    async def several() -> bool:
        return len(await listed()) > 1

    await eventually(several)
    assert "demo" in await listed()
    [demo] = [one for one in await viewer.json("/dev/executions") if one["id"] == "demo"]
    assert demo.keys() == {
        "id", "workflow_id", "status", "started_at", "completed_at", "steps",
    }  # fmt: skip


async def test_no_engine(start_viewer: StartViewer) -> None:
    """Without an engine the list is empty, which is JSON that nothing keeps."""
    viewer = await start_viewer(pace=None)
    async with viewer.session.get(f"{viewer.url}/dev/executions") as response:
        assert await response.json() == []
        assert response.content_type == "application/json"
        assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", FILES)
async def test_files(start_viewer: StartViewer, path: str) -> None:
    """Each file has its type and headers that let nothing foreign run, and names no other host."""
    viewer = await start_viewer(pace=None)
    async with viewer.session.get(viewer.url + path) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == FILES[path]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        text = await response.text()
    assert "://" not in text
    assert "innerHTML" not in text


async def test_off_in_serve(start_gateway: StartGateway) -> None:
    """A gateway that is not told to serve the page has none, and none gives out tokens."""
    gateway = await start_gateway(ownership="token")
    for path in ("/", "/page/page.js", "/dev/session", "/dev/executions"):
        async with gateway.session.get(gateway.url + path) as response:
            assert response.status == 404, path
    shown = await start_gateway(ownership="token", page=True)
    for path, status in (("/", 200), ("/page/page.js", 200), ("/dev/session", 404)):
        async with shown.session.get(shown.url + path) as response:
            assert response.status == status, path


@pytest.mark.parametrize("ending", ["completed", "failed", "canceled"])
async def test_started(start_viewer: StartViewer, ending: str) -> None:
    """An execution that is started with an ending ends so, after it was paused and approved."""
    viewer = await start_viewer(pace=30)
    run = (await order(viewer, "", {"ending": ending}))["id"]

    async def status() -> str:
        [found] = [one for one in await viewer.json("/dev/executions") if one["id"] == run]
        return str(found["status"])

    assert (await order(viewer, f"/{run}/pause"))["done"]

    async def paused() -> bool:
        return await status() == "paused"

    await eventually(paused)
    assert (await order(viewer, f"/{run}/approve"))["done"]

    async def ended() -> bool:
        return await status() == ending

    await eventually(ended)
    assert not (await order(viewer, f"/{run}/pause"))["done"]


async def order(viewer: Viewer, path: str, body: object = None) -> dict[str, Any]:
    url = f"{viewer.url}/dev/executions{path}"
    async with viewer.session.post(url, json=body or {}) as response:
        assert response.status in (200, 201), await response.text()
        document: dict[str, Any] = await response.json()
        return document


async def test_orders_of_others(start_viewer: StartViewer) -> None:
    """A page of another origin cannot order anything: no order is taken without the content type
    that its browser would have to ask for first, and nothing made up is one."""
    viewer = await start_viewer(pace=1)
    url = f"{viewer.url}/dev/executions"
    async with viewer.session.post(url, data=b"{}", headers={"Content-Type": "text/plain"}) as said:
        assert said.status == 400
    async with viewer.session.post(url, json={"ending": "badly"}) as said:
        assert said.status == 400
        assert "completed, failed, canceled" in (await said.json())["message"]
    async with viewer.session.options(url, headers={"Origin": "https://evil.example"}) as said:
        assert "Access-Control-Allow-Origin" not in said.headers


async def test_enough(start_viewer: StartViewer) -> None:
    """Who starts ever more is told when it is enough."""
    viewer = await start_viewer(pace=0.01)
    statuses = []
    for _ in range(40):
        async with viewer.session.post(f"{viewer.url}/dev/executions", json={}) as response:
            statuses.append(response.status)
    assert statuses[0] == 201
    assert statuses[-1] == 429
