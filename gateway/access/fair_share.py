"""Turns for something of which only a few may be under way at a time, shared out fairly: one who
asks for much waits behind their own questions, and not in front of others'.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.errors import BackendUnavailable


class FairShare:
    """Gives out turns, a few to each payer (`Identity.payer`), and to those who wait in rotation.

    So a payer with one question waits, if at all, for one turn of each other payer who waits.
    """

    def __init__(self, most: int, share: int, max_waiting: int) -> None:
        """At a time at most *most* turns, *share* of them one payer's; *max_waiting*: questions of
        one payer that may wait for a turn."""
        self._most = most
        self._share = share
        self._max_waiting = max_waiting
        self._taken: Counter[str] = Counter()
        # Only of payers who cannot have a turn now; the one who is next comes first.
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    def __len__(self) -> int:
        """How many payers have a turn, or wait for one."""
        return len(self._taken.keys() | self._waiting.keys())

    @asynccontextmanager
    async def turn(self, payer: str) -> AsyncIterator[None]:
        """Wait for a turn, which is given back at the end of the block.

        Raises:
            BackendUnavailable: as many questions of this payer wait already as may.
        """
        await self._take(payer)
        try:
            yield
        finally:
            self._give_back(payer)

    async def _take(self, payer: str) -> None:
        queue = self._waiting.setdefault(payer, deque())
        if len(queue) >= self._max_waiting:
            raise BackendUnavailable("Too many questions of one subject wait for the backend.")
        turn = asyncio.get_running_loop().create_future()
        queue.append(turn)
        self._pass_on()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                # It was given in the same moment.
                self._give_back(payer)
            elif turn in queue:
                queue.remove(turn)
                if not queue:
                    del self._waiting[payer]
            raise

    def _give_back(self, payer: str) -> None:
        self._taken[payer] -= 1
        if not self._taken[payer]:
            del self._taken[payer]
        self._pass_on()

    def _pass_on(self) -> None:
        """Give out what turns there are. Few payers have their share, so the next one is near."""
        while self._taken.total() < self._most:
            payer = next((one for one in self._waiting if self._taken[one] < self._share), None)
            if payer is None:
                return
            queue = self._waiting.pop(payer)
            turn = queue.popleft()
            # Its question may have been given up just now.
            if not turn.cancelled():
                self._taken[payer] += 1
                turn.set_result(None)
            if queue:
                self._waiting[payer] = queue
