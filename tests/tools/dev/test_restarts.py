"""What the page of `sse-gateway dev` can break: a connection, the gateway, Redis. All come back."""

import os
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from gateway.embedded import EmbeddedRedis
from tests.harness.gateway_process import measured
from tests.harness.proc import alive, children
from tests.harness.sse import SseReader
from tests.support import eventually
from tests.tools.dev.conftest import StartViewer
from tests.tools.dev.processes import pid_of, running_dev


@pytest.mark.parametrize("keep", [True, False])
async def test_redis_comes_back_after_a_kill_with_its_data_or_without(keep: bool) -> None:
    """Under the same URL, and another process."""
    embedded = await EmbeddedRedis.start(durable=True)
    try:
        before = await pid_of(embedded.url)
        async with Redis.from_url(embedded.url) as client:
            await client.set("greeting", "hello")
        await embedded.restart(keep=keep)
        assert await pid_of(embedded.url) != before
        async with Redis.from_url(embedded.url) as client:
            assert await client.get("greeting") == (b"hello" if keep else None)
    finally:
        await embedded.stop()


async def test_a_connection_that_is_cut_ends_without_a_last_word(
    start_viewer: StartViewer,
) -> None:
    """As a lost network does; streams of other executions go on."""
    viewer = await start_viewer(pace=None)
    token = (await viewer.json("/dev/session"))["token"]
    headers = {"Authorization": f"Bearer {token}", "X-Organization-ID": "dev-org"}
    streams = f"{viewer.url}/api/v1/sse/executions"
    async with (
        viewer.session.get(f"{streams}/one/stream", headers=headers) as one,
        viewer.session.get(f"{streams}/two/stream", headers=headers) as two,
    ):
        readers = SseReader(one), SseReader(two)
        for reader in readers:
            await reader.expect("connected")
        assert await said(viewer.session, f"{viewer.url}/dev/executions/one/cut") == {"done": True}
        with pytest.raises(aiohttp.ClientError):
            await one.content.read()
        await readers[1].expect("heartbeat")
        assert await said(viewer.session, f"{viewer.url}/dev/executions/none/cut") == {
            "done": False
        }


async def said(session: aiohttp.ClientSession, url: str, **command: str) -> Any:
    async with session.post(url, json=command) as answer:
        assert answer.status in (200, 201), await answer.text()
        return await answer.json()


async def test_restarts_of_the_gateway_and_of_redis_lose_no_event_and_double_none() -> None:
    """The gateway is another process at the same address, and the same development for the page;
    the run goes on, and all of its events are there: as many as the engine has published. A gateway
    that ends by itself ends all."""
    async with (
        running_dev("--port", "0", "--pace", "10", **measured()) as dev,
        aiohttp.ClientSession(dev.url) as session,
    ):
        [gateway] = [pid for pid in children(dev.pid) if is_gateway(pid)]
        before = await about(session)
        assert before["restarts"] == ["gateway", "redis", "redis-empty"]
        run = (await said(session, "/dev/executions", ending="long"))["id"]
        for what in ("redis", "gateway", "redis"):
            await said(session, "/dev/restart", what=what)
            if what == "gateway":
                await eventually(lambda: not alive(gateway))
                await eventually(lambda: answers(session))
        [after] = [pid for pid in children(dev.pid) if is_gateway(pid)]
        assert await about(session) == before
        assert run in {one["id"] for one in await listed(session)}
        # The run has its own pace, and makes hundreds of events beside two restarts of Redis.
        document = await eventually(lambda: document_of(run, session), timeout=30)
        assert document["complete"] is True
        assert len(document["events"]) == document["published"] > 300
        os.kill(after, signal.SIGKILL)
        assert await dev.ended() == 1
        assert "The gateway has ended" in dev.said


def is_gateway(pid: int) -> bool:
    return b"gateway.cli.dev" in Path(f"/proc/{pid}/cmdline").read_bytes()


async def answers(session: aiohttp.ClientSession) -> bool:
    try:
        async with session.get("/dev/session"):
            return True
    except aiohttp.ClientError:
        return False


async def about(session: aiohttp.ClientSession) -> dict[str, Any]:
    """What the page sees of which `sse-gateway dev` it is, and of what it can restart."""
    async with session.get("/dev/session") as answer:
        restarts = (await answer.json())["restarts"]
    async with session.get("/dev/executions") as answer:
        return {"restarts": restarts, "instance": (await answer.json())["instance"]}


async def listed(session: aiohttp.ClientSession) -> list[dict[str, Any]]:
    async with session.get("/dev/executions") as answer:
        executions: list[dict[str, Any]] = (await answer.json())["executions"]
        return executions


async def document_of(execution_id: str, session: aiohttp.ClientSession) -> dict[str, Any] | None:
    """The document of an execution that has ended, with how many events the engine has
    published."""
    async with session.get("/dev/session") as answer:
        token = (await answer.json())["token"]
    headers = {"Authorization": f"Bearer {token}", "X-Organization-ID": "dev-org"}
    path = f"/api/v1/workflows/-/runs/{execution_id}?include_logs=true"
    async with session.get(path, headers=headers) as answer:
        document: dict[str, Any] = await answer.json()
    if document.get("status") != "completed":
        return None
    async with session.get("/dev/published") as answer:
        return {**document, "published": (await answer.json())[execution_id]}
