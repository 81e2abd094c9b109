"""Socket activation: a gateway on a socket that outlives it, under systemd's own program too."""

import os
import signal
import socket
import time
import tomllib
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
from redis.asyncio import Redis

from gateway.contract.keys import events_key
from gateway.systemd import inherited_sockets
from tests.harness.gateway_process import GatewayProcess, environment, serving
from tests.harness.history import append, payload
from tests.harness.tab import Tab, following
from tests.sidecars.service_manager import activated, visited
from tests.support import eventually, free_port, require

ROOT = Path(__file__).parents[2]
SAMPLE = tomllib.loads((ROOT / "config" / "production.toml").read_text())
_ENOUGH = 50
"""Answers."""


@pytest.fixture
def held() -> Iterator[socket.socket]:
    """A listening socket as sse-gateway.socket opens it."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as sock:
        yield sock


async def restarted(process: GatewayProcess) -> None:
    process.signal(signal.SIGTERM)
    assert await process.ended() == 0


async def test_restart(held: socket.socket, redis_url: str) -> None:
    """A restart refuses and resets nobody: who connects while no gateway runs waits for one."""
    host, port = held.getsockname()
    settings = {"REDIS_URL": redis_url, "GATEWAY_DRAIN_SECONDS": "0.3"}
    async with visited(host, port) as visitors:
        for _ in range(2):
            async with activated(held, names="http", **settings) as process:
                began = visitors.answers
                await eventually(lambda: visitors.answers > began + _ENOUGH)  # noqa: B023 - of now
                await restarted(process)
    assert visitors.failures == []


@pytest.mark.alone
async def test_no_tab_waits_long_for_the_next_gateway(
    held: socket.socket, redis_url: str, redis: Redis
) -> None:
    """With the shipped `drain_seconds` of 20 all tabs are back in 3 s, so one that takes the least
    `retry:`, 1 s, waits 2 s at most. No event of a Publisher is missed, nor any PUBLISH before the
    old gateway's end. (`make bench` has 10,000 tabs.)"""
    settings = {"REDIS_URL": redis_url, "GATEWAY_DRAIN_SECONDS": str(SAMPLE["drain_seconds"])}
    settings |= {"GATEWAY_OWNERSHIP": "token"}
    origin = f"http://127.0.0.1:{held.getsockname()[1]}"
    connector = aiohttp.TCPConnector(limit=0)
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        tabs = [Tab(session, origin, f"run-{number % 5}") for number in range(100)]
        old = await stack.enter_async_context(activated(held, names="http", **settings))
        await stack.enter_async_context(following(tabs))
        await eventually(lambda: all(tab.opened for tab in tabs))
        begin = time.monotonic()
        old.signal(signal.SIGTERM)
        await old.says("Stopping")
        for number in range(5):
            await append(redis, f"run-{number}", "step:started")
        # All at once: it hears them only while it drains, for half a second.
        async with redis.pipeline(transaction=False) as pipeline:
            for number in range(5):
                pipeline.publish(f"execution:run-{number}", payload("step:bare"))
            await pipeline.execute()
        assert await old.ended() == 0
        assert [await redis.xlen(events_key(f"run-{number}")) for number in range(5)] == [2] * 5
        await stack.enter_async_context(activated(held, names="http", **settings))
        await eventually(lambda: all(tab.opened == 2 for tab in tabs))
        assert time.monotonic() - begin < 3
        await eventually(lambda: all(tab.numbers == [1, 2] for tab in tabs))


async def test_why_the_socket(redis_url: str) -> None:
    """A gateway that opened its socket itself refuses who comes between two of it."""
    port = free_port()
    settings = {"REDIS_URL": redis_url, "GATEWAY_DRAIN_SECONDS": "0.3", "GATEWAY_PORT": str(port)}
    async with serving(**settings) as process, visited("127.0.0.1", port) as visitors:
        await eventually(lambda: visitors.answers > _ENOUGH)
        await restarted(process)
        await eventually(lambda: "ConnectionRefusedError" in visitors.failures)


async def test_wins(held: socket.socket, redis_url: str) -> None:
    """The inherited socket wins over the settings' address, and gets the options that streams
    need; the banner shows where it is."""
    options = (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
    assert held.getsockopt(*options) == 0
    settings = {"REDIS_URL": redis_url, "GATEWAY_PORT": str(free_port())}
    async with activated(held, names="sse-gateway.socket", **settings) as process:
        assert process.url == f"http://127.0.0.1:{held.getsockname()[1]}"
        assert held.getsockopt(*options) == 30_000
        async with aiohttp.ClientSession() as session:
            await process.healthy(session)


async def test_admin(held: socket.socket, redis_url: str) -> None:
    """A socket called `admin` is where operators are answered, whatever the settings say."""
    with socket.create_server(("127.0.0.1", 0)) as admin:
        # The setting is `off`.
        async with activated(held, admin, names="http:admin", REDIS_URL=redis_url) as process:
            assert process.admin_url == f"http://127.0.0.1:{admin.getsockname()[1]}"
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"{process.admin_url}/live") as response,
            ):
                assert response.status == 200
            assert process.url == f"http://127.0.0.1:{held.getsockname()[1]}"


def test_said_once() -> None:
    """What systemd says is taken out of the environment: a child would take it for its own."""
    environment = {"LISTEN_FDS": "0", "LISTEN_FDNAMES": "", "LISTEN_PID": str(os.getpid()), "X": ""}
    assert inherited_sockets(environment) == []
    assert environment == {"X": ""}


def test_for_somebody_else() -> None:
    """Sockets of another process (a shell that was started so) are not ours."""
    assert inherited_sockets({"LISTEN_FDS": "1", "LISTEN_PID": "1", "LISTEN_FDNAMES": "x"}) == []


async def test_too_many(held: socket.socket, redis_url: str) -> None:
    """Two sockets for one purpose end the start with a sentence that says what to do."""
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        pytest.raises(AssertionError, match=r"sockets one, other, .*: remove the others"),
    ):
        async with activated(held, other, names="one:other", REDIS_URL=redis_url):
            pass


async def test_not_listening(held: socket.socket, redis_url: str) -> None:
    """A connection instead of a listening socket (`Accept=yes`) ends the start likewise."""
    with (
        socket.create_connection(held.getsockname()) as connection,
        pytest.raises(AssertionError, match="does not accept connections: use ListenStream="),
    ):
        async with activated(connection, names="http", REDIS_URL=redis_url):
            pass


async def test_systemd_socket_activate(redis_url: str) -> None:
    """Under `systemd-socket-activate` the first connection starts the gateway and is answered."""
    port = free_port()
    settings = {"REDIS_URL": redis_url, "GATEWAY_PORT": "1", "PYTHONPATH": str(ROOT)}
    names = environment(**settings)
    around = [require("systemd-socket-activate"), "--listen", f"127.0.0.1:{port}"]
    for name in names:
        around += ["--setenv", name]
    async with visited("127.0.0.1", port) as visitors, serving(*around, **settings) as process:
        assert process.url == f"http://127.0.0.1:{port}"
        await eventually(lambda: visitors.answers)
        # Only before that program listened.
        assert set(visitors.failures) <= {"ConnectionRefusedError"}
