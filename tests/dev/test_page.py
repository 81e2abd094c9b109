"""What the page is made of, as any HTTP client sees it."""

import pytest
from redis.asyncio import Redis

from tests.dev.conftest import StartViewer
from tests.support import SseReader, eventually, producer_message

FILES = {
    "/": "text/html; charset=utf-8",
    "/dev/page.css": "text/css; charset=utf-8",
    "/dev/page.js": "text/javascript; charset=utf-8",
    "/dev/card.js": "text/javascript; charset=utf-8",
    "/dev/stream.js": "text/javascript; charset=utf-8",
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
    assert demo.keys() == {"id", "status", "started_at", "completed_at", "steps"}


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
