"""A TCP proxy on loopback that cuts, holds back or loses what goes through it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Self

Gate = Callable[[bytes], Awaitable[bool]]


class TcpProxy:
    """Forwards to the port *target*; while that is None, it cuts each connection at once."""

    def __init__(self, target: int | None = None, host: str = "127.0.0.1", port: int = 0) -> None:
        """*host* and *port*: its own address; by default any free port."""
        self.target = target
        self.host = host
        self.port = port
        self.lose = 0
        """So many of the next answers are lost: the connection is cut in their place."""
        self.holds = asyncio.Event()
        """Set once an answer, which the target has given already, waits."""
        self._answers_pass = asyncio.Event()
        self._answers_pass.set()
        self._open: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[Any]] = set()

    @property
    def redis_url(self) -> str:
        """Of the Redis behind it."""
        return f"redis://127.0.0.1:{self.port}/0"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        self.switch(None)
        await self._server.wait_closed()
        # Before Python 3.12 that does not wait for the connections.
        if self._serving:
            await asyncio.wait(self._serving)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def switch(self, target: int | None) -> None:
        """Cut all connections; new ones go to the port *target*, as after a failover."""
        self.target = target
        for writer in self._open:
            writer.transport.abort()

    def hold(self) -> None:
        """Let answers wait on the way."""
        self._answers_pass.clear()

    def let_go(self) -> None:
        """Let answers pass again."""
        self._answers_pass.set()

    async def request_passes(self, chunk: bytes) -> bool:
        """Called with each piece of a request; where it is False, the connection ends."""
        return True

    async def answer_passes(self, chunk: bytes) -> bool:
        """The same for an answer."""
        if self.lose:
            self.lose -= 1
            return False
        if not self._answers_pass.is_set():
            self.holds.set()
            await self._answers_pass.wait()
        return True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        target = self.target
        try:
            if target is None:
                raise ConnectionRefusedError
            there, back = await asyncio.open_connection("127.0.0.1", target)
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, back}
        self._open |= pair
        if target != self.target:
            back.transport.abort()
        directions = [
            asyncio.create_task(_forward(reader, back, self.request_passes)),
            asyncio.create_task(_forward(there, writer, self.answer_passes)),
        ]
        await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        for one in pair:
            # What was written still goes out.
            one.close()
        for direction in directions:
            direction.cancel()
        await asyncio.wait(directions)
        self._open -= pair


async def _forward(source: asyncio.StreamReader, sink: asyncio.StreamWriter, gate: Gate) -> None:
    with suppress(OSError):
        while (chunk := await source.read(65536)) and await gate(chunk):
            sink.write(chunk)
            await sink.drain()
