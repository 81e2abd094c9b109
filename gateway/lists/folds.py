"""The folds of one organization's list, and how their histories are read: a few at a time."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from gateway.bus.trips import Trips
from gateway.events.ending import TerminalTypes
from gateway.fanout.hub import Hub
from gateway.lists.fold import About, Fold
from gateway.log import RateLimitedLog

if TYPE_CHECKING:
    from gateway.lists.listing import Listing

log = logging.getLogger(__name__)

_OPENING = 16
"""Histories that are read at a time."""

_WAIT_SECONDS = 5.0
"""How long a list waits for a history that cannot be read: less than lists are kept."""

_late_log = RateLimitedLog(60.0)


class Folds:
    """Those of one organization, by execution id."""

    def __init__(
        self,
        organization_id: str,
        trips: Trips,
        hub: Hub,
        terminal_types: TerminalTypes,
        on_change: Callable[[Fold, bool], None],
    ) -> None:
        """*on_change*: see `Fold`."""
        self._organization_id = organization_id
        self._trips = trips
        self._hub = hub
        self._terminal_types = terminal_types
        self._on_change = on_change
        self._folds: dict[str, Fold] = {}
        self.waiting: dict[str, Fold] = {}
        """To be opened."""
        self.changed: set[Fold] = set()
        """Something has come for them."""
        self._settling: list[asyncio.Future[None]] = []

    def __len__(self) -> int:
        return len(self._folds)

    def __iter__(self) -> Iterator[str]:
        """The executions, as they were when the loop over them began."""
        return iter(list(self._folds))

    def __contains__(self, execution_id: object) -> bool:
        return execution_id in self._folds

    def __getitem__(self, execution_id: str) -> Fold:
        return self._folds[execution_id]

    def get(self, execution_id: str) -> Fold | None:
        """The fold of this execution, if there is one."""
        return self._folds.get(execution_id)

    def want(self, execution_ids: Iterable[str]) -> None:
        """Have these, from the next opening on."""
        now = asyncio.get_running_loop().time()
        for execution_id in execution_ids:
            fold = self._folds.get(execution_id)
            if fold is None:
                fold = self._folds[execution_id] = self.waiting[execution_id] = Fold(
                    self._organization_id,
                    execution_id,
                    self._hub,
                    self._terminal_types,
                    self._on_change,
                )
            fold.asked_at = now

    async def open(self, fold: Fold) -> About | None:
        """Begin to fold one that was waiting; what `meta` says of it, if that could be read."""
        about = await fold.open(self._trips)
        if self._folds.get(fold.execution_id) is not fold:
            fold.stop()
            about = None
        self.settle()
        return about

    def open_again(self, fold: Fold) -> None:
        """What it shows is of a former run, or it has failed."""
        fold.is_current = False
        self.waiting[fold.execution_id] = fold

    def close(self, execution_id: str) -> None:
        """Nobody needs it."""
        self.waiting.pop(execution_id, None)
        fold = self._folds.pop(execution_id, None)
        if fold is not None:
            self.changed.discard(fold)
            fold.stop()
            self.settle()

    def close_old(self, now: float, seconds: float) -> None:
        """Close what nobody has asked for in so many *seconds*."""
        for execution_id in self:
            if now - self._folds[execution_id].asked_at > seconds:
                self.close(execution_id)

    async def settled(self, execution_ids: Collection[str]) -> None:
        """Wait until all that is known of these was folded; what takes too long is left out."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_WAIT_SECONDS):
                while not self.is_settled(execution_ids):
                    settling: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    self._settling.append(settling)
                    await settling
                return
        late = [fold for one in execution_ids if (fold := self._folds.get(one)) is not None]
        for fold in late:
            fold.is_late = not fold.is_current
        _late_log.warning(
            log,
            "Histories of %d executions cannot be read, and lists lack them: one is %s.",
            sum(one.is_late for one in late),
            next((one.execution_id for one in late if one.is_late), ""),
        )

    def is_settled(self, execution_ids: Iterable[str]) -> bool:
        """Whether it was."""
        return all(
            (fold := self._folds.get(one)) is None
            or fold.is_late
            or (fold.is_settled and one not in self.waiting)
            for one in execution_ids
        )

    def settle(self) -> None:
        """Have those who wait look again."""
        settling, self._settling = self._settling, []
        for one in settling:
            if not one.done():
                one.set_result(None)

    @property
    def bytes(self) -> int:
        """Memory that they take, about."""
        return sum(one.bytes for one in self._folds.values())


class Openings:
    """Reads histories for all lists, those of each organization in turn."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._opening: set[Fold] = set()
        self._turns: deque[Listing] = deque()

    def add(self, listing: "Listing") -> None:
        """Something of *listing* may wait."""
        if listing.folds.waiting and listing not in self._turns:
            self._turns.append(listing)
        self.go_on()

    def go_on(self) -> None:
        """Begin as many as there is room for."""
        self._opening = {one for one in self._opening if one.is_opening or not one.is_settled}
        while self._turns and len(self._opening) < _OPENING:
            listing = self._turns.popleft()
            waiting = listing.folds.waiting
            if not waiting:
                continue
            fold = waiting.pop(next(iter(waiting)))
            fold.is_opening = True
            self._opening.add(fold)
            self._hub.spawn(self._open(listing, fold))
            self._turns.append(listing)

    async def _open(self, listing: "Listing", fold: Fold) -> None:
        await listing.open(fold)
        self.go_on()
