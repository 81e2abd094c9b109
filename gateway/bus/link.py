"""One connection of the subscription, from its beginning to its end."""

import asyncio
from collections.abc import Collection

from redis.asyncio.connection import AbstractConnection

from gateway.bus.canary import read_canary
from gateway.bus.server import Identity


class Link:
    """One connection, and the task that reads it."""

    def __init__(self, connection: AbstractConnection) -> None:
        self.connection = connection
        self.server: Identity | None = None
        """What it was before the subscription began; it may have become another one since."""
        self.reading: asyncio.Task[None] | None = None
        self.has_read = False
        """Something was read since the last tick."""
        self.quiet_ticks = 0
        self.given_up: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        """Why another one takes its place. It may not be dead, and still bring something."""
        self.last_canary: int | None = None
        """The last one published before another connection took its place; None until then."""
        self._later: set[bytes] = set()
        """Of which nodes it has brought a later one."""

    def give_up(self, reason: Exception) -> None:
        if not self.given_up.done():
            self.given_up.set_result(reason)

    def is_caught_up(self, canary: bytes, names: Collection[bytes]) -> bool:
        """Whether, with *canary*, it has brought one of each name that was published after it was
        replaced."""
        number, name = read_canary(canary)
        if self.last_canary is None:
            return False
        if number > self.last_canary:
            self._later.add(name)
        return self._later.issuperset(names)

    async def end_within(self, seconds: float) -> None:
        """End it when it has caught up or is lost, or after *seconds*."""
        try:
            if self.reading is not None:
                await asyncio.wait([self.reading], timeout=seconds)
        finally:
            await self.end()

    async def end(self) -> None:
        """Close it; what its reading has raised was seen, or does not matter any more."""
        try:
            if self.reading is not None:
                self.reading.cancel()
                await asyncio.gather(self.reading, return_exceptions=True)
        finally:
            # The waiting task may be cancelled again. Without it a half-open socket would stay
            # behind.
            await self.connection.disconnect(nowait=True)
