"""Requests as bytes, for what no HTTP client would send."""

import asyncio
import math
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson

from tests.support import DEADLINE

QUIET = 1.0
"""Seconds without a byte after which a connection that stays open has said all that it will."""

HEALTH = "/api/v1/sse/health"
STREAM = "/api/v1/sse/executions/run-1/stream"
GET = f"GET {HEALTH} HTTP/1.1\r\nHost: gateway\r\n"
"""The beginning of a request that is well; headers and the empty line may follow."""


@dataclass
class Said:
    """What a server said on one connection."""

    data: bytes
    closed: bool

    @property
    def statuses(self) -> list[int]:
        """Of each answer, in order; none of our bodies has a line that begins so."""
        components = self.data.split(b"HTTP/1.")[1:]
        return [int(part[2:5]) for part in components]

    @property
    def headers(self) -> dict[str, str]:
        """Of the first answer, by name in lower case."""
        lines = self.data.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}

    def json(self) -> Any:
        """The body of the only answer."""
        return orjson.loads(self.data.partition(b"\r\n\r\n")[2])


class Connection:
    """One connection on which bytes are sent as they are."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, url: str) -> "Connection":
        components = urlsplit(url)
        return cls(*await asyncio.open_connection(components.hostname, components.port))

    def send(self, data: str | bytes) -> None:
        self._writer.write(data if isinstance(data, bytes) else data.encode("latin-1"))

    async def hear(self, quiet: float = QUIET, answers: int = 1) -> Said:
        """All that comes until the end, or until so many *answers* have come, and then nothing
        more for *quiet* seconds."""
        heard = b""
        with suppress(TimeoutError):
            while True:
                enough = len(Said(heard, closed=False).statuses) >= answers
                async with asyncio.timeout(quiet if enough else DEADLINE):
                    try:
                        chunk = await self._reader.read(65536)
                    except ConnectionError:
                        chunk = b""
                if not chunk:
                    return Said(heard, closed=True)
                heard += chunk
        return Said(heard, closed=False)

    def close(self) -> None:
        self._writer.close()

    async def skim(self, most: float = math.inf) -> int:
        """Read to the end, or *most* bytes, and keep none of them; how many there were."""
        count = 0
        async with asyncio.timeout(DEADLINE):
            with suppress(ConnectionError):
                while count < most and (chunk := await self._reader.read(2**18)):
                    count += len(chunk)
        return count

    def abort(self) -> None:
        """Close it without sending or reading what is left."""
        self._writer.transport.abort()

    async def closed(self) -> None:
        """Close it, and wait until the socket is gone: the end of a test may come before that."""
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


async def say(url: str, data: str | bytes, quiet: float = QUIET, answers: int = 1) -> Said:
    """Send *data* on a connection of its own, and hear what comes."""
    connection = await Connection.open(url)
    try:
        connection.send(data)
        return await connection.hear(quiet, answers)
    finally:
        connection.close()


def reset_on_close(sock: socket.socket) -> None:
    """Let the end of *sock* reset its connection."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
