"""A limit on how many requests run at a time, shared fairly: many requests of one payer wait behind
each other, and do not delay those of others."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.errors import BackendUnavailable


class FairShare:
    """Turns for payers (`Identity.payer`): a few at a time for each, and round robin for those who
    wait. A payer with one request waits, if at all, for one turn of each other waiting payer."""

    def __init__(self, limit: int, share: int, max_waiting: int) -> None:
        """At a time at most *limit* turns, *share* of them of one payer; *max_waiting*: requests of
        one payer that may wait."""
        self._limit = limit
        self._share = share
        self._max_waiting = max_waiting
        self._running: Counter[str] = Counter()
        # In the order in which payers get their next turn.
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    def __len__(self) -> int:
        """How many payers have a turn, or wait for one."""
        return len(self._running.keys() | self._waiting.keys())

    @asynccontextmanager
    async def turn(self, payer: str) -> AsyncIterator[None]:
        """Wait for a turn; it ends with the block.

        Raises:
            BackendUnavailable: too many requests of this payer wait already.
        """
        await self._acquire(payer)
        try:
            yield
        finally:
            self._release(payer)

    async def _acquire(self, payer: str) -> None:
        queue = self._waiting.setdefault(payer, deque())
        if len(queue) >= self._max_waiting:
            raise BackendUnavailable("Too many questions of one subject wait for the backend.")
        turn = asyncio.get_running_loop().create_future()
        queue.append(turn)
        self._give_turns()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                # The turn came in the same moment as the cancellation.
                self._release(payer)
            elif turn in queue:
                queue.remove(turn)
                if not queue:
                    del self._waiting[payer]
            raise

    def _release(self, payer: str) -> None:
        self._running[payer] -= 1
        if not self._running[payer]:
            del self._running[payer]
        self._give_turns()

    def _give_turns(self) -> None:
        while self._running.total() < self._limit:
            payer = next((one for one in self._waiting if self._running[one] < self._share), None)
            if payer is None:
                return
            queue = self._waiting.pop(payer)
            turn = queue.popleft()
            # It may have been cancelled a moment ago.
            if not turn.cancelled():
                self._running[payer] += 1
                turn.set_result(None)
            if queue:
                self._waiting[payer] = queue
