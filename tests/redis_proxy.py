"""A TCP proxy in front of Redis; what becomes of the answers is said by whoever derives from it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Self

Gate = Callable[[], Awaitable[bool]]


class RedisProxy:
    """Passes everything on, in both directions."""

    def __init__(self, port: int) -> None:
        self._target = port
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
                group.create_task(self._pass_on(reader, redis_writer, self.may_ask))
                group.create_task(self._pass_on(redis_reader, writer, self.may_answer))

    @staticmethod
    async def _pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter, may: Gate) -> None:
        while (chunk := await source.read(65536)) and await may():
            sink.write(chunk)
        sink.close()

    async def may_ask(self) -> bool:
        """Whether the next piece of a command goes on; if not, the connection ends there."""
        return True

    async def may_answer(self) -> bool:
        """The same for an answer, which Redis has given already; may take its time."""
        return True
