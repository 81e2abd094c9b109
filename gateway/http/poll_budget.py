"""The bytes that polls may take: one bound for all, of which an organization gets a quarter.

What is bounded is memory, not the number of polls: many small ones pass beside a large one. A poll
waits only behind those of its own organization.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from gateway.errors import LimitReached, Unavailable

WAIT_SECONDS = 10.0
"""How long a poll waits for memory before it is refused."""

_SHARES = 4
"""One organization gets this part of the total."""

_REMEMBERED = 8
"""Documents that nobody reads may take this part of the total."""

_FOR_READERS = 8
"""This part of the total, and of each share, is left to buffers of readers: a document that is
ready gets out, however many other polls wait."""


class Payer(NamedTuple):
    """Whose bytes they are."""

    organization_id: str
    is_reader: bool
    """Bytes for a reader's buffer; else for a document."""


@dataclass(slots=True, eq=False)
class Charge:
    """Bytes that are taken from the budget, none at first."""

    payer: Payer
    bytes: int = 0


class Budget:
    """Gives out *total* bytes; *wait*: seconds that a poll waits for them."""

    def __init__(self, total: int, wait: float = WAIT_SECONDS) -> None:
        self._total = total
        self._share = total // _SHARES
        self._wait_seconds = wait
        self.largest = self._share - self._share // _FOR_READERS
        """Most bytes that one document may take."""
        self.most_remembered = total // _REMEMBERED
        """Most bytes of documents that nobody reads."""
        self.used = 0
        self._used_by: Counter[str] = Counter()
        self._waiting: dict[Payer, deque[tuple[Charge, int, asyncio.Future[None]]]] = {}
        self.evict: Callable[[str | None], bool] = lambda organization_id: False
        """Releases a charge that can be spared, of this organization or of any; False if none."""

    async def take(self, charge: Charge, size: int) -> None:
        """Make *charge*, which has none, one of *size* bytes once they are free; at most `largest`.

        Raises:
            LimitReached: the organization's own polls left too few in time.
            Unavailable: those of all organizations left too few.
        """
        if charge.payer not in self._waiting and self._has_room(charge.payer, size):
            self._set(charge, size)
            return
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(charge.payer, deque()).append((charge, size, granted))
        try:
            async with asyncio.timeout(self._wait_seconds):
                await granted
        except BaseException as error:
            # It may have been granted at the moment at which the poll gave up.
            self.release(charge)
            self.serve()
            if isinstance(error, TimeoutError):
                raise self._refusal(charge.payer, size) from None
            raise

    def resize(self, charge: Charge, size: int) -> None:
        """Make *charge* one of *size* bytes at once.

        Raises:
            LimitReached, Unavailable: too few are free now, and nothing changed.
        """
        more = size - charge.bytes
        if more > 0 and not self._has_room(charge.payer, more):
            raise self._refusal(charge.payer, more)
        self._set(charge, size)
        if more < 0:
            self.serve()

    def release(self, charge: Charge) -> None:
        """Give all of it back; calling it again changes nothing."""
        self.resize(charge, 0)

    def serve(self) -> None:
        """Soon give what is free, or can be spared, to those who wait."""
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._serve)

    def _serve(self) -> None:
        # The payers in turn, each in its own order.
        for payer, queue in list(self._waiting.items()):
            while queue and queue[0][2].done():
                # This poll has given up.
                queue.popleft()
            if queue and not self._has_room(payer, queue[0][1]):
                continue
            del self._waiting[payer]
            if queue:
                charge, size, granted = queue.popleft()
                self._set(charge, size)
                granted.set_result(None)
            if queue:
                # Last from now on: the others come first.
                self._waiting[payer] = queue

    def _has_room(self, payer: Payer, more: int) -> bool:
        while not self._fits_share(payer, more):
            if not self.evict(payer.organization_id):
                return False
        while self.used + more > _usable(self._total, payer):
            if not self.evict(None):
                return False
        return True

    def _fits_share(self, payer: Payer, more: int) -> bool:
        return self._used_by[payer.organization_id] + more <= _usable(self._share, payer)

    def _refusal(self, payer: Payer, size: int) -> LimitReached | Unavailable:
        try_again = "try again in a few seconds, or ask for less with `limit`."
        if not self._fits_share(payer, size):
            return LimitReached(
                f"Your organization's polls have reached their memory limit: {try_again}",
                "poll_limit",
            )
        return Unavailable(
            f"All polls together have reached their memory limit: {try_again}", "polls_busy"
        )

    def _set(self, charge: Charge, size: int) -> None:
        organization_id, more = charge.payer.organization_id, size - charge.bytes
        charge.bytes = size
        self.used += more
        self._used_by[organization_id] += more
        if not self._used_by[organization_id]:
            # A key with a count of 0 would stay as long as the process runs.
            del self._used_by[organization_id]


def _usable(whole: int, payer: Payer) -> int:
    return whole if payer.is_reader else whole - whole // _FOR_READERS
