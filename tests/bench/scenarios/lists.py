"""What lists cost: 100 runs with 20 events a second each, that nobody else watches, and none, one
or 20 streams of their list."""

import asyncio
from contextlib import suppress

from tests.bench.figures import Figure
from tests.bench.stage import ORGANIZATION, Gateway, Stage

_PATH = f"/api/v1/sse/organizations/{ORGANIZATION}/executions/stream"


async def play(stage: Stage) -> None:
    """CPU of the gateway in each second."""
    executions = await stage.executions(stage.size(100, 5), events=1)
    rate = 20 * len(executions)
    async with stage.gateway() as gateway:
        # One tab, which tells how far the gateway has come.
        await gateway.crowd.open(executions[-1:], replayed=1)
        for lists in (0, 1, 20):
            readers = [await _open(gateway) for _ in range(lists)]
            reading = [asyncio.create_task(_read(reader)) for reader in readers]
            used = gateway.cpu
            seconds = stage.size(15, 2)
            await stage.pace(
                gateway.crowd, executions, rate=rate, events=rate * seconds, script=True,
                share=1 / len(executions),
            )  # fmt: skip
            cost = (gateway.cpu - used) / seconds
            stage.add(Figure(f"{rate} events/s and {lists} streams of a list", cost * 100, "% CPU"))
            read = 0
            for task in reading:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            for reader in readers:
                read += reader.bytes
                reader.writer.close()
            if lists:
                per_second = read / lists / seconds / 1024
                stage.add(Figure(f"each of {lists} streams of a list", per_second, "KiB/s"))


class _Reader:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer, self.bytes = reader, writer, 0


async def _open(gateway: Gateway) -> _Reader:
    """A stream of the list that has shown its snapshot."""
    reader = _Reader(*await asyncio.open_connection("127.0.0.1", gateway.port))
    head = f"GET {_PATH} HTTP/1.1\r\nHost: x\r\n{next(gateway.headers)}\r\n"
    reader.writer.write(head.encode())
    await reader.reader.readuntil(b"event: executions:snapshot")
    return reader


async def _read(reader: _Reader) -> None:
    while data := await reader.reader.read(65536):
        reader.bytes += len(data)
