"""Socket activation: a gateway on a socket that outlives it, under systemd's own program too."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from gateway.systemd import inherited_sockets
from tests.harness.gateway_process import GatewayProcess, environment, serving
from tests.sidecars.service_manager import activated, visited
from tests.support import eventually, free_port, require

ROOT = Path(__file__).parents[2]
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


async def test_why_the_socket(redis_url: str) -> None:
    """A gateway that opened its socket itself refuses whoever comes between two of it."""
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
