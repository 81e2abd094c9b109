"""A TCP proxy in front of Redis whose answers travel as long as a test likes."""

import asyncio
from contextlib import suppress
from typing import Self


class SlowProxy:
    """Passes everything on; while it is told to `hold`, answers wait on the way."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._go = asyncio.Event()
        self._go.set()
        self.holds = asyncio.Event()
        """Set once an answer, which Redis has given already, waits."""
        self._writers: list[asyncio.StreamWriter] = []

    def hold(self) -> None:
        self._go.clear()

    def let_go(self) -> None:
        self._go.set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"redis://127.0.0.1:{port}/0"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        redis_reader, redis_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers += [writer, redis_writer]
        with suppress(OSError):
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass_on(reader, redis_writer))
                group.create_task(self._answers(redis_reader, writer))

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while chunk := await source.read(65536):
            sink.write(chunk)
        sink.close()

    async def _answers(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while chunk := await source.read(65536):
            if not self._go.is_set():
                self.holds.set()
                await self._go.wait()
            sink.write(chunk)
        sink.close()
