"""Finds what is no longer true in the index: what happened while no gateway was subscribed, or, if
gateways subscribe only to what is watched, to executions that nobody watches."""

from collections.abc import Container, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, get_args

from gateway.contract.index import Entry, Kind, Note, Sweep
from gateway.events.ending import EndingStatus, TerminalTypes
from gateway.events.ids import EventId
from gateway.lists.fold import About

if TYPE_CHECKING:
    from gateway.lists.listing import Listing

AT_ONCE = 200
"""So many are looked up at a time."""

_STALE_MS = 60_000
"""What runs without activity for so long is looked up once a minute."""

_NOTED_MS = 5_000
"""After so long the last event of an execution is noted, if it was heard."""

_MOST_FOLDS = 1000
"""With so many, no more are folded only to find out whether they are paused."""

_ENDED = frozenset(get_args(EndingStatus))


class Suspects:
    """The executions of one list that are still to be looked up, and what is then found."""

    def __init__(self, terminal_types: TerminalTypes, *, hears_all: bool) -> None:
        """*hears_all*: gateways hear what nobody watches too, and note it. Else all that runs is
        looked up each time."""
        self._terminal_types = terminal_types
        self._hears_all = hears_all
        self._waiting: list[str] = []
        self._last: dict[str, EventId] = {}
        """The last event of each when it was looked up last, where not all is heard."""
        self._is_routine = False
        """All that runs is looked up, not what is doubtful."""

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(
        self, entries: Mapping[str, Entry], kind: Sweep, now_ms: int, without: Container[str] = ()
    ) -> None:
        """Those of *entries* that a sweep of this *kind* looks up; *without* those that are looked
        up anyway, where it is everything that runs."""
        if kind == "none" and (self._hears_all or self._waiting):
            return
        self._is_routine = kind == "none"
        if self._is_routine:
            found = [one for one in entries if _is_open(entries[one]) and one not in without]
        else:
            found = [
                one
                for one, entry in entries.items()
                if kind == "all" or (_is_open(entry) and now_ms - entry.active_at > _STALE_MS)
            ]
        # What runs may have ended; among those, the newest are shown first. They are taken from
        # the end.
        found.sort(key=lambda one: (_is_open(entries[one]), entries[one].active_at))
        self._waiting = found

    def take(self) -> list[str]:
        """The next ones."""
        taken = self._waiting[-AT_ONCE:]
        del self._waiting[-AT_ONCE:]
        return taken

    def remove(self, execution_id: str) -> None:
        """It is not in the list any more."""
        self._last.pop(execution_id, None)

    def correction(self, execution_id: str, entry: Entry, about: About, now_ms: int) -> Note | None:
        """What is to be noted of it; nothing where *entry* is true."""
        moves = not self._hears_all and self._moves(execution_id, entry, about, now_ms)
        if (status := true_status(entry, about, self._terminal_types)) != entry.status:
            kind: Kind = "now" if moves and about.terminal is not None else "is"
            return Note(kind, execution_id, str(about.last), status)
        # Without its id: it may have paused the execution, which is found when that is silent.
        return Note("active", execution_id) if moves else None

    def must_follow(self, entry: Entry, about: About, now_ms: int, folds: int) -> bool:
        """Whether its history must be followed to know if it is paused, where there are so many
        *folds*. Not each time: that would be to watch all that runs."""
        return not self._is_routine and folds < _MOST_FOLDS and is_uncertain(entry, about, now_ms)

    def _moves(self, execution_id: str, entry: Entry, about: About, now_ms: int) -> bool:
        """Whether an event has come since it was looked up last, and nobody has noted it."""
        before, now = self._last.pop(execution_id, None), about.last
        if now is not None and _is_open(entry):
            self._last[execution_id] = now
        return before not in (None, now) and is_uncertain(entry, about, now_ms)


class Sweeps:
    """Looks up the suspects of all lists, a few at a time, those of each organization in turn."""

    def __init__(self, listings: dict[str, "Listing"]) -> None:
        self._listings = listings

    def tick(self) -> Coroutine[Any, Any, None] | None:
        """Look up the next ones of one organization."""
        for organization_id, listing in self._listings.items():
            if taken := listing.suspects.take():
                self._listings[organization_id] = self._listings.pop(organization_id)
                return listing.look_up(taken)
        return None


def true_status(entry: Entry, about: About, terminal_types: TerminalTypes) -> str:
    """The status that the index should have, as far as `meta` knows."""
    if (ended := about.ended_as(terminal_types)) is not None:
        return ended
    last, noted = about.last, entry.event_id
    if last is None or not last.seq:
        return entry.status
    begins_again = not _is_open(entry) and noted is not None and last.epoch > noted.epoch
    return "running" if begins_again or entry.status == "pending" else entry.status


def is_uncertain(entry: Entry, about: About, now_ms: int) -> bool:
    """Whether events came unheard that may have paused or resumed it: `meta` does not say."""
    return (
        _is_open(entry)
        and about.last is not None
        and about.last != entry.event_id
        and now_ms - entry.active_at > _NOTED_MS
    )


def _is_open(entry: Entry) -> bool:
    return entry.status not in _ENDED
