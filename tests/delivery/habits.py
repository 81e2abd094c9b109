"""Tabs with habits: those that leave, come late, stay away, or are slow."""

import asyncio
import socket
from typing import Any

from tests.delivery.reader import Left, Reader
from tests.harness.raw import reset_on_close

_SMALL_BUFFER = 2048
_GREETING = 1
"""Bytes after which a connection has surely begun."""


class Fidgety(Reader):
    """Is cut after a random number of bytes, in mid-frame as a rule, until the execution is over;
    then after a few times more, so that it comes to an end."""

    _patience = 3

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._budget = self._draw()

    def _draw(self) -> int:
        return int(self.chance.choice((200, 500, 2_000, 10_000)) * self.chance.uniform(0.5, 1.5))

    async def between(self) -> None:
        self._budget = self._draw()
        if self.over.is_set():
            self._patience -= 1
        await super().between()

    async def pace(self, taken: int) -> int:
        if self._patience <= 0:
            return await super().pace(taken)
        if taken >= self._budget:
            raise Left
        return self._budget - taken


class Late(Reader):
    """Comes at a random moment, from before the first event to after the last."""

    latest = 2.0
    """Seconds."""

    async def before_first(self) -> None:
        await asyncio.sleep(self.chance.uniform(0, self.latest))


class Absent(Reader):
    """Leaves after a random number of bytes, and comes back when the execution is over."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._leave_after = self.chance.randrange(500, 20_000)

    async def pace(self, taken: int) -> int:
        if self.over.is_set():
            return await super().pace(taken)
        if taken >= self._leave_after:
            raise Left
        return self._leave_after - taken

    async def between(self) -> None:
        if not self.done:
            await self.over.wait()
        await super().between()


class Slow(Reader):
    """Reads a little, and a little later a little more, until the execution is over."""

    receive_buffer = _SMALL_BUFFER

    async def pace(self, taken: int) -> int:
        if not self.over.is_set():
            await asyncio.sleep(self.chance.uniform(0, 0.1))
            return self.chance.randrange(1, 4 * _SMALL_BUFFER)
        return await super().pace(taken)


class Frozen(Reader):
    """Stops reading in mid-stream until it is `released`."""

    receive_buffer = _SMALL_BUFFER

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.released = asyncio.Event()
        self.is_frozen = False
        self._freeze_after = self.chance.randrange(_GREETING, 5_000)

    async def pace(self, taken: int) -> int:
        if taken >= self._freeze_after:
            self.is_frozen = True
            await self.released.wait()
        return min(await super().pace(taken), 4 * _SMALL_BUFFER)


class Broken(Frozen):
    """Stops reading, and resets its connection when it is `released`; then reads as others do."""

    async def pace(self, taken: int) -> int:
        has_broken = self.released.is_set()
        size = await super().pace(taken)
        if self.is_frozen and not has_broken:
            raise Left
        return size

    def leave(self, sock: socket.socket) -> None:
        reset_on_close(sock)
