"""A TCP proxy in front of Redis that loses answers."""

import asyncio
from contextlib import suppress
from typing import Self


class LosingProxy:
    """Passes everything on, but cuts the connection instead of the next `lose` answers."""

    def __init__(self, port: int) -> None:
        self._target = port
        self.lose = 0
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"redis://127.0.0.1:{port}/0"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()
        for writer in self._writers:
            with suppress(OSError):
                await writer.wait_closed()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        redis_reader, redis_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers += [writer, redis_writer]
        with suppress(OSError):
            async with asyncio.TaskGroup() as group:
                group.create_task(self._requests(reader, redis_writer))
                group.create_task(self._answers(redis_reader, writer))

    async def _requests(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while chunk := await source.read(65536):
            sink.write(chunk)
        sink.close()

    async def _answers(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while chunk := await source.read(65536):
            if self.lose:
                # The command went through; its answer is lost.
                self.lose -= 1
                break
            sink.write(chunk)
        sink.close()
