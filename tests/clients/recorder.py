"""A TCP relay before a gateway that writes down what one client asks, and how it is answered.

It changes nothing: when the gateway breaks a connection off, so does it.
"""

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Self

_REQUEST = re.compile(rb"(?:^|\n)GET (\S+) HTTP/1\.1\r\n(.*?\r\n)\r\n", re.DOTALL)
_RESPONSE = re.compile(rb"(?:^|\n)HTTP/1\.1 (\d{3}) ")


Note = Callable[[bytes], None]


class Recorder:
    """Relays to the port *target* of loopback, which may change; `port` is its own."""

    def __init__(self, target: int) -> None:
        self.target = target
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0
        self.requests: list[str] = []
        """The head of every GET, its path first, in lower case."""
        self.statuses: list[int] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
        except ConnectionRefusedError:
            writer.transport.abort()
            return
        self._writers.add(back)
        asked = asyncio.create_task(self._relay(reader, back, self._asked))
        answered = asyncio.create_task(self._relay(there, writer, self._answered))
        # Whoever of the two ends it.
        await asyncio.wait({asked, answered}, return_when=asyncio.FIRST_COMPLETED)
        for one in (writer, back):
            one.close()
        await asyncio.wait({asked, answered})

    @staticmethod
    async def _relay(source: asyncio.StreamReader, sink: asyncio.StreamWriter, note: Note) -> None:
        with suppress(OSError):
            while chunk := await source.read(65536):
                note(chunk)
                sink.write(chunk)
                await sink.drain()

    def _asked(self, chunk: bytes) -> None:
        for path, head in _REQUEST.findall(chunk):
            self.requests.append(f"{path.decode()}\n{head.decode().lower()}")

    def _answered(self, chunk: bytes) -> None:
        self.statuses += [int(status) for status in _RESPONSE.findall(chunk)]
