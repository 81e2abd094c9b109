"""A connection that is slow to send its first request is cut; after that it is not watched."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from gateway.http import connection as connection_module
from gateway.http.connection import KEEPALIVE_SECONDS, Connections, ProtocolFactory
from gateway.http.request_limits import request_limits_middleware
from tests.conftest import StartGateway, credentials
from tests.harness.raw import GET, STREAM, Connection, Said
from tests.harness.ticking import ticking
from tests.support import eventually

TIMEOUT = 0.5
SLACK = 1.0
"""Seconds for a busy machine, on top of the tenth by which a cut may be late."""

_Send = Callable[[Connection], Coroutine[Any, Any, None]]


async def _nothing(_: Connection) -> None:
    """Sends nothing at all."""


async def _half(connection: Connection) -> None:
    connection.send(f"{GET}X: y")


async def _drip(connection: Connection) -> None:
    for character in GET:
        connection.send(character)
        await asyncio.sleep(TIMEOUT / 10)


async def _whole_in_time(connection: Connection) -> None:
    for part in (GET[:5], GET[5:20], GET[20:], "\r\n"):
        connection.send(part)
        await asyncio.sleep(TIMEOUT / 10)


async def _slowly(url: str, send: _Send) -> tuple[Said, float]:
    """What a connection heard that sends by *send*, and after how many seconds."""
    connection = await Connection.open(url)
    began = asyncio.get_running_loop().time()
    sending = asyncio.create_task(send(connection))
    said = await connection.hear(TIMEOUT + SLACK)
    sending.cancel()
    connection.close()
    return said, asyncio.get_running_loop().time() - began


@pytest.mark.alone
@pytest.mark.parametrize("send", [_nothing, _half, _drip])
async def test_slow(start_gateway: StartGateway, send: _Send) -> None:
    """A connection without a whole request is cut at the timeout, however busy it is; one that is
    merely slow is served, and an open stream outlives the timeout."""
    gateway = await start_gateway(
        ownership="token", header_timeout_seconds=TIMEOUT, heartbeat_seconds=0.3
    )
    reader = await gateway.open("run-1")
    (cut, after), (served, _) = await asyncio.gather(
        _slowly(gateway.url, send), _slowly(gateway.url, _whole_in_time)
    )
    assert (cut.data, cut.closed) == (b"", True)
    assert TIMEOUT * 0.9 <= after < TIMEOUT + SLACK
    assert (served.statuses, served.closed) == ([200], False)
    for _ in range(3):
        seen = await reader.next(timeout=2)
        assert seen is not None
        assert seen.event == "heartbeat"


@asynccontextmanager
async def _listening(connections: Connections) -> AsyncIterator[str]:
    """The URL of a server on which any GET is answered."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response()

    application = web.Application(middlewares=[request_limits_middleware(TIMEOUT)])
    application.router.add_get("/{any:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    assert runner.server is not None
    loop = asyncio.get_running_loop()
    server = await loop.create_server(ProtocolFactory(runner.server, connections), "127.0.0.1", 0)
    async with ticking(connections.tick_seconds, connections.tick):
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    await runner.cleanup()


async def test_first_request_is_awaited() -> None:
    """A connection is watched until its first request is there, or it is gone, and not after."""
    connections = Connections(60)
    async with _listening(connections) as url:
        asking, leaving, waiting = [await Connection.open(url) for _ in range(3)]
        await eventually(lambda: len(connections) == 3)
        asking.send(f"{GET}\r\n")
        assert (await asking.hear(0.2)).statuses == [200]
        assert len(connections) == 2
        leaving.close()
        await eventually(lambda: len(connections) == 1)
        for connection in (asking, waiting):
            connection.close()


@pytest.mark.alone
async def test_between_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an answer a connection may idle for the keep-alive time and no longer, also with half
    of its next request sent; until then the next request is served."""
    keepalive = 1.0
    monkeypatch.setattr(connection_module, "KEEPALIVE_SECONDS", keepalive)
    async with _listening(Connections(TIMEOUT)) as url:
        connection = await Connection.open(url)
        for _ in range(2):
            connection.send(f"{GET}\r\n")
            said = await connection.hear(keepalive * 0.7)
            # Longer than the time for a first request: that no longer counts.
            assert (said.statuses, said.closed) == ([200], False)
        connection.send(GET)
        began = asyncio.get_running_loop().time()
        said = await connection.hear(keepalive + SLACK)
        assert (said.data, said.closed) == (b"", True)
        assert asyncio.get_running_loop().time() - began < keepalive + SLACK
        connection.close()


async def test_keepalive_outlasts_nginx() -> None:
    """By default a connection is kept longer than nginx keeps one to its upstream, 60 s."""
    assert KEEPALIVE_SECONDS > 60


async def test_refused_stays_usable(start_gateway: StartGateway) -> None:
    """A refusal without a body in the request counts as a request: its connection is kept."""
    gateway = await start_gateway(ownership="token", header_timeout_seconds=TIMEOUT)
    connection = await Connection.open(gateway.url)
    connection.send(f"GET {STREAM} HTTP/1.1\r\nHost: x\r\n\r\n")
    said = await connection.hear(TIMEOUT * 1.5)
    assert (said.statuses, said.closed) == ([401], False)
    lines = "".join(f"{name}: {value}\r\n" for name, value in credentials().items())
    connection.send(f"GET {STREAM} HTTP/1.1\r\nHost: x\r\n{lines}\r\n")
    assert (await connection.hear(0.3)).statuses == [200]
    connection.close()
