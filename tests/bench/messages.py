"""What the bench publishes: messages, and a connection that sends them ahead of their answers."""

import asyncio
import time
from collections.abc import Callable, Sequence

from tests.bench.tabs import STAMP


def command(*words: bytes) -> bytes:
    """A Redis command as it goes over the wire (RESP)."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words)


def message(padding: int = 205) -> bytes:
    """A worker's message, stamped with this moment."""
    return b'{"type":"step:completed","execution_id":"bench","data":{"output":"%b",%b%d}}' % (
        b"y" * padding,
        STAMP,
        time.monotonic_ns(),
    )


class Envelopes:
    """Messages as `Publisher` publishes them, with ids that go on after two events of history, and
    without the history: live, a stream takes what follows, and asks no more."""

    def __init__(self, epochs: list[bytes]) -> None:
        self.epochs = epochs

    def make(self, begin: int, end: int) -> list[bytes]:
        """Those of number *begin* to *end*, of one execution after the other, in turn."""
        count = len(self.epochs)
        return [
            b'{"id":"%b-%d",%b' % (self.epochs[n % count], n // count + 3, message()[1:])
            for n in range(begin, end)
        ]


class Publisher:
    """PUBLISHes, as many in one write as are given."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        command: bytes = b"PUBLISH",
    ) -> None:
        self._writer = writer
        self._command = command
        self._reading = asyncio.ensure_future(self._discard(reader))

    async def publish(
        self,
        executions: Sequence[str],
        messages: Sequence[bytes],
        channel_of: Callable[[str], str] = "execution:{}".format,
    ) -> None:
        """Each message on the channel of the execution at its place."""
        self._writer.writelines(
            command(self._command, channel_of(name).encode(), one)
            for name, one in zip(executions, messages, strict=True)
        )
        await self._writer.drain()

    async def _discard(self, reader: asyncio.StreamReader) -> None:
        while await reader.read(2**16):
            pass

    async def close(self) -> None:
        self._writer.close()
        await self._reading
