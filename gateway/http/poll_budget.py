"""The bytes that polls may hold: a bound for all of them, of which an organization gets a quarter.

What is bounded is memory, not the number of polls: many small ones pass beside a large one. A poll
waits behind those of its own organization only. What is remembered counts too, and makes room.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from typing import NamedTuple

from gateway.errors import LimitReached, Unavailable

WAIT_SECONDS = 10.0
"""How long a poll waits for room before it is refused."""

_SHARES = 4
"""One organization gets this part of the whole."""

_REMEMBERED = 8
"""Documents that nobody reads may hold this part of the whole."""

_FOR_READERS = 8
"""This part of the whole, and of each share, is left to buffers of readers: a document that is
ready gets out, however many others wait for room."""

_TRY_AGAIN = "try again in a few seconds, or ask for less with `limit`."


class Holder(NamedTuple):
    """Who holds bytes, or waits for them."""

    organization: str
    is_reader: bool
    """Bytes for a reader's buffer; else for a document."""


class Charge:
    """Bytes that are held until they are given back."""

    __slots__ = ("_budget", "bytes", "holder")

    def __init__(self, budget: "Budget", holder: Holder, size: int) -> None:
        """For `Budget.take`, which is how to get one."""
        self._budget = budget
        self.holder = holder
        self.bytes = size

    def resize(self, size: int) -> None:
        """Hold *size* bytes from now on.

        Raises:
            LimitReached, Unavailable: there is no room for more now, and nothing changed.
        """
        self._budget.resize(self, size)

    def rest(self, drop: Callable[[], None]) -> None:
        """Nobody reads the document now; *drop* is called when its room is given to others."""
        self._budget.rest(self, drop)

    def wake(self) -> None:
        """The document is read again."""
        self._budget.wake(self)

    def release(self) -> None:
        """Give all back; calling it again changes nothing."""
        self._budget.resize(self, 0)


class Budget:
    """Gives out *total* bytes."""

    def __init__(self, total: int, wait: float = WAIT_SECONDS) -> None:
        """*total*: bytes; *wait*: seconds that a poll waits for room."""
        self._total = total
        self._wait_seconds = wait
        self._share = total // _SHARES
        self.most_remembered = total // _REMEMBERED
        """Most bytes of documents that nobody reads."""
        self.largest = self._share - self._share // _FOR_READERS
        """Most bytes that one document may have."""
        self.used = 0
        self._of: Counter[str] = Counter()
        self._waiting: dict[Holder, deque[tuple[int, asyncio.Future[None]]]] = {}
        self._resting: dict[Charge, Callable[[], None]] = {}

    async def take(self, holder: Holder, size: int) -> Charge:
        """*size* bytes, `largest` at most, once there is room for them.

        Raises:
            LimitReached: the organization's own polls left no room in time.
            Unavailable: those of all organizations left none.
        """
        if holder in self._waiting or not self._has_room(holder, size):
            await self._wait(holder, size)
        else:
            self._count(holder, size)
        return Charge(self, holder, size)

    async def _wait(self, holder: Holder, size: int) -> None:
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        place = (size, granted)
        self._waiting.setdefault(holder, deque()).append(place)
        try:
            async with asyncio.timeout(self._wait_seconds):
                await granted
        except BaseException as error:
            if granted.done() and not granted.cancelled():
                # Granted in the moment in which it was given up.
                self._count(holder, -size)
            else:
                self._leave(holder, place)
            self._serve()
            if isinstance(error, TimeoutError):
                raise self._refusal(holder, size) from None
            raise

    def _leave(self, holder: Holder, place: tuple[int, asyncio.Future[None]]) -> None:
        places = self._waiting[holder]
        places.remove(place)
        if not places:
            del self._waiting[holder]

    def _refusal(self, holder: Holder, size: int) -> LimitReached | Unavailable:
        if not self._fits(self._of[holder.organization] + size, self._share, holder):
            return LimitReached(
                f"Your organization's polls hold as many bytes as they may: {_TRY_AGAIN}",
                "poll_limit",
            )
        return Unavailable(f"Polls hold as many bytes as they may: {_TRY_AGAIN}", "polls_busy")

    def resize(self, charge: Charge, size: int) -> None:
        """See `Charge.resize`."""
        more = size - charge.bytes
        if more > 0 and not self._has_room(charge.holder, more):
            raise self._refusal(charge.holder, more)
        charge.bytes = size
        self._resting.pop(charge, None)
        self._count(charge.holder, more)
        if more < 0:
            self._serve()

    def rest(self, charge: Charge, drop: Callable[[], None]) -> None:
        """See `Charge.rest`."""
        self._resting[charge] = drop
        while sum(one.bytes for one in self._resting) > self.most_remembered:
            self._drop(next(iter(self._resting)))
        self._serve()

    def wake(self, charge: Charge) -> None:
        """See `Charge.wake`."""
        self._resting.pop(charge, None)

    def _has_room(self, holder: Holder, more: int) -> bool:
        """Whether *more* bytes fit, in the place of what was remembered longest ago if need be."""
        organization = holder.organization
        for charge in [one for one in self._resting if one.holder.organization == organization]:
            if self._fits(self._of[organization] + more, self._share, holder):
                break
            self._drop(charge)
        if not self._fits(self._of[organization] + more, self._share, holder):
            return False
        while self._resting and not self._fits(self.used + more, self._total, holder):
            self._drop(next(iter(self._resting)))
        return self._fits(self.used + more, self._total, holder)

    @staticmethod
    def _fits(size: int, whole: int, holder: Holder) -> bool:
        return size <= (whole if holder.is_reader else whole - whole // _FOR_READERS)

    def _drop(self, charge: Charge) -> None:
        drop = self._resting.pop(charge)
        self._count(charge.holder, -charge.bytes)
        charge.bytes = 0
        drop()

    def _count(self, holder: Holder, more: int) -> None:
        self.used += more
        self._of[holder.organization] += more
        # A key that stayed with a count of 0 would be there for the life of the process.
        if not self._of[holder.organization]:
            del self._of[holder.organization]

    def _serve(self) -> None:
        """Give what is free to those who wait: the organizations in turn, each in its own order."""
        for holder in list(self._waiting):
            size, granted = self._waiting[holder][0]
            if granted.done() or not self._has_room(holder, size):
                continue
            self._count(holder, size)
            granted.set_result(None)
            places = self._waiting.pop(holder)
            places.popleft()
            if places:
                # Last from now on: the others come first.
                self._waiting[holder] = places
