"""The tabs of a soak: those of `tests.delivery`, and some that only a soak has the time for."""

import asyncio
from contextlib import suppress
from itertools import cycle, islice

from tests.delivery.habits import Absent, Broken, Fidgety, Frozen, Late, Slow
from tests.delivery.reader import Reader


class Reloading(Fidgety):
    """Reloads its page again and again, and then has no cursor."""

    async def between(self) -> None:
        if not self.over.is_set():
            self.journal.loaded_anew()
            self._last_event_id = ""
        await super().between()


class Napping(Frozen):
    """Stops reading in mid-stream, often for longer than a gateway waits, then goes on."""

    longest = 5.0
    """Seconds."""

    async def pace(self, taken: int) -> int:
        if taken >= self._freeze_after and not self.released.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self.over.wait(), self.chance.uniform(0, self.longest))
            self.released.set()
        return await super().pace(taken)


class Crashing(Broken):
    """Stops reading, and is killed when its execution is over, or before; then comes back."""

    async def before_first(self) -> None:
        asyncio.get_running_loop().call_later(self.chance.uniform(0, 8), self.released.set)


_EVERY_KIND: tuple[type[Reader], ...] = (
    Reader, Fidgety, Reloading, Late, Napping, Absent, Slow, Crashing, Reader, Fidgety, Reloading
)  # fmt: skip


def crowd(tabs: int) -> list[type[Reader]]:
    """The habits of so many tabs."""
    return list(islice(cycle(_EVERY_KIND), tabs))
