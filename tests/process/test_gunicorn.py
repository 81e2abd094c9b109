"""The gateway under Gunicorn with several workers."""

import asyncio
import gc
import logging
import os
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from redis.asyncio import Redis

from gateway.app import create_app
from gateway.errors import ConfigurationError
from gateway.publisher import Publisher
from tests.conftest import credentials
from tests.harness.proc import sockets
from tests.harness.raw import GET, say
from tests.harness.tab import Tab, following
from tests.process.gunicorn import gunicorn
from tests.support import SECRET, eventually, producer_message


def session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))


async def test_two_workers_serve_and_drain(redis_url: str, redis: Redis, tmp_path: Path) -> None:
    """Tabs at both workers get every event. SIGTERM sends each away with `stream:closing`, and from
    the next Gunicorn they get what was published meanwhile, once and in order."""
    settings = {"REDIS_URL": redis_url, "GATEWAY_OWNERSHIP": "token", "GATEWAY_DRAIN_SECONDS": "1"}

    async with (
        session() as client,
        # A bare PUBLISH that no gateway hears would be lost.
        Publisher(redis_url) as publisher,
        gunicorn(tmp_path, settings) as first,
    ):

        async def publish(count: int) -> None:
            for _ in range(count):
                await publisher.publish("run-1", "step:started", {})

        await first.ready()
        before = {pid: sockets(pid) for pid in first.workers}
        assert len(before) >= 2
        tabs = [Tab(client, first.url, "run-1") for _ in range(60)]
        async with following(tabs):
            await eventually(lambda: all(tab.opened for tab in tabs))
            assert all(sockets(pid) > idle for pid, idle in before.items()), "one has no tab"
            for _ in range(20):
                await redis.publish("execution:run-1", producer_message("step:started"))
            await eventually(lambda: all(len(tab.ids) == 20 for tab in tabs))
            first.terminate()
            await eventually(lambda: any(tab.notices for tab in tabs))
            await publish(10)
            assert await first.ended() == 0
            await publish(10)
            await publisher.publish("run-1", "execution:completed", {})
            async with gunicorn(tmp_path, settings, first.url.rpartition(":")[2]):
                await eventually(lambda: all(tab.statuses[-1] == 204 for tab in tabs))
    assert "access_log" not in first.said
    assert {tuple(tab.ids) for tab in tabs} == {tuple(tabs[0].ids)}
    for tab in tabs:
        assert tab.numbers == list(range(1, 42))
        assert {one.event for one in tab.notices} == {"stream:closing"}
        first_reason, *later = (one.json()["reason"] for one in tab.notices)
        assert first_reason == "drain"
        # Where it came to the other worker: before that one was told to stop, or after.
        assert set(later) <= {"drain", "unavailable"}


async def test_connection_limits_under_gunicorn(redis_url: str, tmp_path: Path) -> None:
    """Who sends half a request is cut in time, and what cannot be parsed is refused as elsewhere;
    a whole request is served. There is no access log, and no token in any other."""
    given = credentials()
    token = given["Authorization"].removeprefix("Bearer ")
    settings = {
        "REDIS_URL": redis_url,
        "GATEWAY_OWNERSHIP": "token",
        "GATEWAY_HEADER_TIMEOUT_SECONDS": "0.5",
        "GATEWAY_LOG_LEVEL": "debug",
    }
    async with gunicorn(tmp_path, settings) as running:
        await running.ready()
        half = await say(running.url, GET, quiet=3)
        assert (half.data, half.closed) == (b"", True)
        nonsense = await say(running.url, "NONSENSE\r\n\r\n", quiet=3)
        assert nonsense.json()["error"] == "malformed_request"

        async def served() -> bool:
            """A worker is healthy a moment after it has subscribed."""
            return (await say(running.url, f"{GET}\r\n", quiet=0.3)).statuses == [200]

        await eventually(served)
        path = (
            f"/api/v1/sse/executions/run-1/stream?organization_id=x&Authorization=Bearer%20{token}"
        )
        async with session() as client, client.get(running.url + path) as response:
            assert response.status == 403
        running.terminate()
        assert await running.ended() == 0
    assert "/run-1/stream" not in running.said
    assert token not in running.said


async def test_wrong_settings_stop_gunicorn(tmp_path: Path) -> None:
    """What the settings lack ends the start, and is named."""
    async with gunicorn(tmp_path, {"GATEWAY_OWNERSHP": "token"}) as running:
        # 3, or 1 where both workers fail in one moment, which Gunicorn stumbles over.
        assert await running.ended() in (1, 3), running.said
    assert "ConfigurationError: GATEWAY_OWNERSHP" in running.said
    assert SECRET not in running.said


async def test_embedded_redis_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis that each worker would start for itself is refused: they would share no event."""
    monkeypatch.setenv("GATEWAY_JWT_SECRET", SECRET)
    monkeypatch.setenv("REDIS_URL", "embedded://")
    with pytest.raises(ConfigurationError, match="REDIS_URL"):
        await create_app()


async def test_readers_that_leave_are_noticed(redis_url: str, tmp_path: Path) -> None:
    """A reader that leaves while its stream is still being opened gives its place back: the handler
    is cancelled, which Gunicorn's worker would not have done by itself."""
    settings = {
        "REDIS_URL": redis_url,
        "GATEWAY_OWNERSHIP_WAIT_SECONDS": "30",
        "GATEWAY_MAX_CONNECTIONS": "1",
    }
    async with (
        gunicorn(tmp_path, settings, workers=1) as running,
        session() as client,
    ):
        await running.ready()
        url = f"{running.url}/api/v1/sse/executions/unknown/stream"

        async def waits() -> bool:
            """Whether a request waits, and is not refused: the execution is not registered."""
            try:
                async with (
                    asyncio.timeout(0.5),
                    client.get(url, headers=credentials()) as response,
                ):
                    assert response.status == 429
                    return False
            except TimeoutError:
                return True

        assert await waits()
        await eventually(waits)


@pytest.fixture
def _process() -> Iterator[None]:
    """What the start of a process sets up does not outlive the test."""
    handlers, level = logging.root.handlers[:], logging.root.level
    thresholds = gc.get_threshold()
    yield
    logging.basicConfig(handlers=handlers, level=level, force=True)
    gc.set_threshold(*thresholds)
    gc.unfreeze()


@pytest.mark.usefixtures("_process")
async def test_connections_get_their_options(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each connection gets the options that a listening socket of somebody else lacks: without
    them a frozen reader ties up megabytes, and one that has vanished is kept for 15 minutes."""
    for name, value in (
        ("REDIS_URL", redis_url),
        ("GATEWAY_JWT_SECRET", SECRET),
        ("GATEWAY_SEND_BUFFER_BYTES", "16384"),
        ("GATEWAY_PEER_TIMEOUT_SECONDS", "7"),
    ):
        monkeypatch.setenv(name, value)
    runner = await create_app()
    await runner.setup()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        await web.SockSite(runner, listener).start()
        port = listener.getsockname()[1]
        async with session() as client, client.get(f"http://127.0.0.1:{port}/nothing") as response:
            assert response.status == 404
            assert _options(port) == {(0, 0): 1, (7000, 32768): 1}, "(listening, accepted)"
        await runner.cleanup()


def _options(port: int) -> Counter[tuple[int, int]]:
    """TCP_USER_TIMEOUT and SO_SNDBUF (0 for what is not ours) of this process's sockets on *port*,
    where the kernel keeps twice what was asked for."""
    found: Counter[tuple[int, int]] = Counter()
    for path in Path("/proc/self/fd").iterdir():
        with suppress(OSError), socket.socket(fileno=os.dup(int(path.name))) as sock:
            if sock.family == socket.AF_INET and sock.getsockname()[1] == port:
                timeout = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
                buffer = sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
                found[timeout, buffer if buffer == 32768 else 0] += 1
    return found
