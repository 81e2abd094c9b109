"""Connections that bring no request, or never a whole one."""

import asyncio
import os
import socket
from urllib.parse import urlsplit

from tests.harness.raw import GET, Connection
from tests.prices.row import MIB, Attack, Row
from tests.prices.stage import Stage

_LINE = "MAX_LINE_BYTES in gateway/http/connection.py"
_HEADER_TIMEOUT = "header_timeout_seconds"
_AT_ONCE = 50


def garbage(begin: bytes, filler: bytes = b"", end: bytes = b"") -> Attack:
    """Bytes that are no request: the three parts, in which *filler* takes the size of an input."""

    async def attack(stage: Stage, size: int, times: int) -> None:
        data = begin + filler * (size // max(1, len(filler))) + end
        await stage.each(times, lambda _: stage.ask(data), _AT_ONCE)

    return attack


async def _random(stage: Stage, size: int, times: int) -> None:
    await stage.each(times, lambda _: stage.ask(os.urandom(size)), _AT_ONCE)


def unfinished(head: str) -> Attack:
    """Half a request, and then silence until the gateway ends the connection."""

    async def attack(stage: Stage, size: int, times: int) -> None:
        await stage.each(times, lambda _: stage.read_all(head), times)

    return attack


async def _given_up(stage: Stage, size: int, times: int) -> None:
    """Half a request, and then the client ends the connection."""

    async def one(_number: int) -> None:
        connection = await Connection.open(stage.url)
        connection.send(f"{GET}X-Half: ")
        await connection.closed()

    await stage.each(times, one, _AT_ONCE)


async def _dripping(stage: Stage, size: int, times: int) -> None:
    """One byte of a request at a time, until the gateway ends the connection."""

    async def one(_number: int) -> None:
        connection = await Connection.open(stage.url)
        ended = asyncio.create_task(connection.hear(quiet=0))
        for byte in GET * 10:
            connection.send(byte)
            done, _ = await asyncio.wait({ended}, timeout=0.02)
            if done:
                break
        await ended
        await connection.closed()

    await stage.each(times, one, times)


async def _reset(stage: Stage, size: int, times: int) -> None:
    """Connections that are reset as soon as they are open, with a request under way."""
    parts = urlsplit(stage.url)
    for number in range(times):
        with socket.create_connection((parts.hostname, parts.port)) as connection:
            # A linger of zero seconds: RST instead of FIN.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.sendall(f"{GET}\r\n".encode())
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)


async def _unread(stage: Stage, size: int, times: int) -> None:
    """Requests by the thousand on a connection, whose answers are not read."""
    connections = [await Connection.open(stage.url) for _ in range(times)]
    for connection in connections:
        connection.send(f"{GET}\r\n" * 1000)
    await asyncio.sleep(0.5)
    for connection in connections:
        connection.abort()


_TLS_HELLO = bytes.fromhex("16030100f1010000ed0303") + bytes(236)
_H2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_POST = b"POST /api/v1/sse/executions/run-1/ticket HTTP/1.1\r\nHost: x\r\n"

ROWS = [
    Row("garbage of A", garbage(b"", b"A"), _LINE, size=128 * 1024),
    Row("garbage of A, many at once", garbage(b"A" * 256 * 1024), _LINE, times=100),
    Row("garbage of random bytes", _random, _LINE, size=128 * 1024),
    Row("garbage of empty lines", garbage(b"", b"\r\n"), _LINE, size=32 * 1024, cpu=0.02),
    Row("garbage of spaces", garbage(b"", b" "), _LINE, size=128 * 1024),
    Row("garbage of NUL", garbage(b"", b"\0"), _LINE, size=128 * 1024),
    Row("garbage after a request", garbage(GET.encode() + b"\r\n", b"A"), _LINE, size=128 * 1024),
    Row("TLS on a plain port", garbage(_TLS_HELLO), _LINE),
    Row("HTTP/2 on a plain port", garbage(_H2, b"\0\0\0\4\0\0\0\0\0"), _LINE, size=8 * 1024),
    Row("header without an end", garbage(GET.encode() + b"X: ", b"y"), _LINE, size=128 * 1024),
    Row("headers without an end", garbage(GET.encode(), b"X: y\r\n"), _LINE, size=64 * 1024),
    Row("target without an end", garbage(b"GET /", b"/"), _LINE, size=128 * 1024),
    Row("chunks of garbage", garbage(_POST + b"Transfer-Encoding: chunked\r\n\r\n", b"Z"), _LINE,
        size=64 * 1024),
    Row("half requests", unfinished(GET), _HEADER_TIMEOUT, times=100),
    Row("half requests through nginx", _given_up, "client_header_timeout in nginx/sse-gateway.conf",
        through_nginx=True),
    Row("half requests given up", _given_up, _HEADER_TIMEOUT, times=100),
    Row("headers byte by byte", _dripping, _HEADER_TIMEOUT, times=20, cpu=0.02),
    Row("flood of silent connections", unfinished(""), _HEADER_TIMEOUT, times=300),
    Row("flood of connections that are reset", _reset, _HEADER_TIMEOUT, times=300),
    Row("body that never comes", garbage(_POST + b"Content-Length: 99\r\n\r\n"),
        "LINGER_SECONDS in gateway/http/connection.py"),
    Row("pipelined requests whose answers are not read", _unread, "aiohttp in setup.cfg",
        times=10, cpu=0.5, peak=32 * MIB),
]  # fmt: skip
