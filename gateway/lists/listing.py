"""The executions of one organization in memory: as the index has them, and the folds of those that
are shown.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from heapq import nsmallest

import orjson

from gateway.bus.index import PAGE, Index
from gateway.bus.trips import Trips
from gateway.contract.index import Entry, Note
from gateway.errors import RedisUnavailable
from gateway.events.ending import TerminalTypes
from gateway.events.fields import stamp
from gateway.fanout.hub import Hub
from gateway.lists.fold import FIELDS, About, Fold, answers
from gateway.lists.folds import Folds
from gateway.lists.sweep import Suspects
from gateway.lists.view import Chosen, Filter, Place, Viewer
from gateway.lists.window import Window

_BASE_BYTES = 4096
ENTRY_BYTES = 512
"""What a list takes, and each execution in it that is not folded, about."""

_SCANNED = 1000
"""Executions that are looked at for a viewer of whom each must be asked."""

_SINCE_MS = 5000
"""Activity is read again from so long before the last time."""


class Listing:
    """One organization's executions, while somebody looks at them."""

    def __init__(
        self,
        organization_id: str,
        index: Index,
        trips: Trips,
        hub: Hub,
        terminal_types: TerminalTypes,
        is_revoked: Callable[[str], bool],
        watching: Callable[[str], int],
        on_change: Callable[["Listing", Fold, bool], None],
        hears_all: bool,
    ) -> None:
        """*watching*: how many streams an execution has. *on_change*: as that of `Fold`.
        *hears_all*: see `Suspects`."""
        self.organization_id = organization_id
        self._index = index
        self._trips = trips
        self._hub = hub
        self._watching = watching
        self._is_revoked = is_revoked
        self.entries: dict[str, Entry] = {}
        self.folds = Folds(organization_id, trips, hub, terminal_types, partial(on_change, self))
        self.windows: dict[object, Window] = {}
        self._touched: set[str] = set()
        self._updated: set[str] = set()
        self.urgent: set[str] = set()
        """Executions whose updates are to be shown before the next regular tick."""
        self._notes: dict[str, Note] = {}
        """What histories say, for the index."""
        self._version = ""
        self._read_at = 0
        self._noted: dict[str, Entry] = {}
        """What came while the index is read."""
        self.suspects = Suspects(terminal_types, hears_all=hears_all)
        self.is_loaded = self.must_compare = False
        self.asked_at = self.compared_at = asyncio.get_running_loop().time()

    # The index.

    async def load(self) -> None:
        """Read the whole index.

        Raises:
            RedisUnavailable: Redis could not be asked.
        """
        self._noted.clear()
        first = page = await self._index.read(self.organization_id)
        found, read = dict(first.entries), PAGE
        while page.entries and read < page.total:
            page = await self._index.read(self.organization_id, offset=read)
            found.update(page.entries)
            read += PAGE
        self._version, self._read_at = first.version, first.at
        for execution_id, entry in self._noted.items():
            if execution_id not in found or found[execution_id].active_at <= entry.active_at:
                found[execution_id] = entry
        for execution_id in self.entries.keys() - found.keys():
            self.remove(execution_id)
        for execution_id, entry in found.items():
            self.noted(execution_id, entry)
        self.suspects.add(self.entries, first.sweep, first.at)
        if not self.is_loaded:
            # Small lists are right when they are shown first.
            await self.look_up(self.suspects.take())
        for window in self.windows.values():
            window.is_stale = True
        self.is_loaded = True

    def noted(self, execution_id: str, entry: Entry) -> None:
        """The index has *entry* now."""
        self._noted[execution_id] = entry
        fold = self.folds.get(execution_id)
        if fold is not None:
            if fold.is_behind(entry.event_id):
                # It has ended, and begun again.
                self.folds.open_again(fold)
            elif fold.is_current and fold.run is not None:
                status = fold.run.summary()["status"]
                if entry.status != status:
                    self._correct(execution_id, fold, status)
                    entry = entry._replace(status=status)
        if self.entries.get(execution_id) != entry:
            self.entries[execution_id] = entry
            self._touched.add(execution_id)

    def _correct(self, execution_id: str, fold: Fold, status: str) -> None:
        position = (fold.run and fold.run.position) or "0-0"
        self._notes[execution_id] = Note("is", execution_id, str(position), status)

    def remove(self, execution_id: str, *, from_index: bool = False) -> None:
        """It is not this organization's, or not there."""
        if self.entries.pop(execution_id, None) is None:
            return
        if from_index:
            self._notes[execution_id] = Note("gone", execution_id)
        self._noted.pop(execution_id, None)
        self.suspects.remove(execution_id)
        self._touched.add(execution_id)
        self.folds.close(execution_id)

    async def compare(self) -> None:
        """Read what has changed in the index, and what is shown and may have changed unheard.

        Raises:
            RedisUnavailable: Redis could not be asked.
        """
        self.must_compare = False
        page = await self._index.read(self.organization_id, max(0, self._read_at - _SINCE_MS))
        if page.version != self._version or len(page.entries) >= PAGE:
            await self.load()
        else:
            self._read_at = page.at
            for execution_id, entry in page.entries.items():
                self.noted(execution_id, entry)
            if (more := len(self.entries) - page.total) > 0:
                # The index keeps so many.
                oldest = sorted(self.entries, key=lambda one: self.entries[one].active_at)
                for execution_id in oldest[:more]:
                    self.remove(execution_id)
            elif more < 0:
                await self.load()
        self.suspects.add(self.entries, page.sweep, page.at, without=self.folds)
        await self.look_up(self.folds)

    async def look_up(self, execution_ids: Iterable[str]) -> None:
        """Ask `meta` of these what the index or a fold may not know."""
        session = self._hub.session
        asked = {one: self._trips.ask_meta(one, *FIELDS) for one in execution_ids}
        for execution_id, answer in asked.items():
            with suppress(RedisUnavailable), answers.about(execution_id):
                self._is(execution_id, About(await answer), session)

    def _is(self, execution_id: str, about: About, session: int) -> None:
        """What *about* says of it."""
        entry, fold = self.entries.get(execution_id), self.folds.get(execution_id)
        if entry is None:
            return
        if about.organization_id != self.organization_id:
            self.remove(execution_id, from_index=True)
        elif fold is not None:
            if fold.compare(about, session):
                self.folds.open_again(fold)
        elif note := self.suspects.correction(execution_id, entry, about, self._read_at):
            self._notes[execution_id] = note
            if note.status:
                self.noted(execution_id, entry._replace(status=note.status))
        elif self.suspects.must_follow(entry, about, self._read_at, len(self.folds)):
            self.folds.want([execution_id])

    def take_notes(self) -> list[Note]:
        """What is to be noted in the index."""
        notes, self._notes = list(self._notes.values()), {}
        return notes

    # What is shown.

    def choose(
        self,
        asked: Filter,
        viewer: Viewer,
        limit: int,
        after: Place | None = None,
        among: Iterable[str] | None = None,
    ) -> Chosen:
        """The first *limit* that are asked for and may be shown, of those *after* a place; only
        *among* these, if given."""
        places: Iterable[Place] = (
            Place(-entry.active_at, one)
            for one in (self.entries if among is None else among)
            if (entry := self.entries.get(one)) is not None
            and asked.matches(entry)
            and not self._is_revoked(one)
        )
        if after is not None:
            places = (one for one in places if one > after)
        if viewer.is_asked:
            places = nsmallest(_SCANNED, places)
        visible = (one for one in places if viewer.may_see(one.execution_id) is not False)
        chosen: list[str] = []
        unknown: list[str] = []
        for one in nsmallest(limit, visible):
            (chosen if viewer.may_see(one.execution_id) else unknown).append(one.execution_id)
        return Chosen(chosen, unknown)

    async def open(self, fold: Fold) -> None:
        """Begin to fold one that was waiting."""
        about = await self.folds.open(fold)
        if about is not None and about.organization_id != self.organization_id:
            self.remove(fold.execution_id, from_index=True)

    def fold(self, fold: Fold) -> None:
        """Fold what has come, and note what changes in the list."""
        gone = fold.fold()
        if gone and not self._is_revoked(fold.execution_id):
            self.remove(fold.execution_id, from_index=True)
        elif fold.starts_over:
            self.folds.open_again(fold)
        elif fold.is_current:
            self.show(fold.execution_id)
            self.folds.settle()

    def show(self, execution_id: str) -> None:
        """Bring what is shown of it up to date."""
        fold, entry = self.folds.get(execution_id), self.entries.get(execution_id)
        if fold is None or fold.run is None or entry is None or not fold.is_current:
            return
        run = fold.run.summary()
        if entry.status != run["status"]:
            self._correct(execution_id, fold, run["status"])
            self.entries[execution_id] = entry = entry._replace(status=run["status"])
            self._touched.add(execution_id)
        at = datetime.fromtimestamp(entry.active_at / 1000, UTC)
        shown = {
            "execution_id": execution_id,
            "workflow_id": fold.workflow_id or entry.workflow_id or None,
            **run,
            "updated_at": stamp(at),
            "watching": self._watching(execution_id),
        }
        if shown != fold.shown:
            fold.shown, fold.encoded = shown, orjson.dumps(shown)
            self._updated.add(execution_id)

    # Regularly.

    def tick(self, *, looks_who_watches: bool = False, is_regular: bool = True) -> int:
        """Give the windows what has changed; returns to how many streams how much was sent. Between
        regular ticks, updates that are not urgent wait."""
        changed, self.folds.changed = self.folds.changed, set()
        for fold in changed:
            self.fold(fold)
        for execution_id in self.folds if looks_who_watches else list(self._touched):
            self.show(execution_id)
        touched, self._touched = self._touched, set()
        updated = self._updated if is_regular else self._updated & self.urgent
        self._updated, self.urgent = self._updated - updated, set()
        return sum(window.update(self, touched, updated) for window in self.windows.values())

    def let_go(self, now: float, seconds: float) -> None:
        """Close what nobody has asked for in so many *seconds*."""
        for key, window in list(self.windows.items()):
            if window.streams:
                window.asked_at = now
            elif now - window.asked_at > seconds:
                del self.windows[key]
            self.folds.want(window.wanted)
        self.folds.close_old(now, seconds)

    @property
    def bytes(self) -> int:
        """Memory that it takes, about."""
        return _BASE_BYTES + ENTRY_BYTES * len(self.entries) + self.folds.bytes

    def close(self) -> None:
        """Nobody looks any more."""
        for execution_id in self.folds:
            self.folds.close(execution_id)
        # It is in a reference cycle with its folds, and the garbage collector comes seldom.
        for each in (self.entries, self._noted, self.windows):
            each.clear()
