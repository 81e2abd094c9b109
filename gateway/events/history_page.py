"""A page of an execution's history as one reader needs it: events, and the status of the cursor.

Pure: it decides what is sent to a reader (gap, reset, the end), not how history is read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from gateway.events import sse_encoder
from gateway.events.ending import EndingStatus
from gateway.events.envelope import Event
from gateway.events.ids import EventId

CursorStatus = Literal["start", "valid", "gap", "reset"]


@dataclass(frozen=True, slots=True)
class Ending:
    """How an execution ended: its first terminal event."""

    id: EventId
    type: str
    kept: bool
    """Whether history still holds that event."""
    status: EndingStatus


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """The events that follow a cursor, as far as one page goes."""

    cursor_status: CursorStatus
    """`start`: no cursor; `valid`: the events follow it; `gap`: it lies before what is kept;
    `reset`: it belongs to another history."""
    events: Sequence[Event]
    first_kept: EventId | None
    ending: Ending | None
    more: bool
    """Another page follows."""
    last: EventId | None
    """The last event of the history, where it is known; on another page if there is one."""
    end: EventId | None = None
    """Where a reader stands that has got this: the last entry, else the cursor if it is kept."""
    run: int | None = None
    """The epoch with which the run began, of one that was restarted."""
    former: Sequence[EventId] = ()
    """The last ids of the former epochs of this history, oldest first, where they are known."""

    _joined: list[bytes] = field(default_factory=list, repr=False, compare=False)

    @property
    def frames(self) -> bytes:
        """All events as they go over the wire, joined once for all who are given this page."""
        if not self._joined:
            self._joined.append(b"".join([one.frame for one in self.events]))
        return self._joined[0]

    @property
    def catches_up_to(self) -> EventId | None:
        """The event up to which a reader is not live yet; None where nothing is behind."""
        if self.ending is not None:
            return self.ending.id if self.events else None
        if self.more:
            return self.last
        return self.events[-1].id if self.events else None

    @property
    def is_last(self) -> bool:
        """After these events the execution has ended, also when its end is no longer kept."""
        if self.ending is None or self.more:
            return False
        return not self.ending.kept or bool(self.events and self.events[-1].id == self.ending.id)

    def is_over_for(self, cursor: EventId | None) -> bool:
        """Whether a reader with *cursor* has seen the end: it gets a 204 (CONTRACT.md)."""
        return (
            self.ending is not None and cursor is not None and cursor.is_at_or_after(self.ending.id)
        )

    def is_other_history(self, tip: EventId | None) -> bool:
        """Whether *tip*, after which it was read, is not of this history: that was flushed, has
        begun again, or holds less than it did."""
        if tip is None:
            return False
        if self.end is None or self.end.epoch != tip.epoch:
            return True
        is_end_lost = self.ending is not None and not self.ending.kept
        return self.cursor_status == "reset" and not is_end_lost

    def started_over(self, cursor: EventId) -> "HistoryPage":
        """This page of a start for a reader whose *cursor* is not valid."""
        is_gap = missing_after(cursor, self.first_kept, self.former) is not None
        return replace(self, cursor_status="gap" if is_gap else "reset")

    def notices(self, cursor: EventId | None) -> bytes:
        """What a reader with *cursor* must be told before the events."""
        is_end_lost = self.ending is not None and not self.ending.kept
        if self.cursor_status == "valid" and not is_end_lost:
            return b""
        reset = b""
        if self.run is not None and cursor is not None and cursor.epoch < self.run:
            reset = sse_encoder.reset("restarted")
        elif self.cursor_status == "reset" and not is_end_lost:
            reset = sse_encoder.reset()
        if self.ending is not None and is_end_lost:
            is_same_epoch = cursor is not None and cursor.epoch == self.ending.id.epoch
            return reset + _gap_until(self.ending.id, cursor if is_same_epoch else None)
        if self.first_kept is None:
            return reset
        if not reset and cursor is not None:
            missing = missing_after(cursor, self.first_kept, self.former)
            return sse_encoder.gap(*missing) if missing else b""
        return reset + _gap_until(self.first_kept._replace(seq=self.first_kept.seq - 1))


Missing = Sequence[tuple[EventId, EventId]]
"""The first and the last one of each epoch."""


def missing_after(
    cursor: EventId, first_kept: EventId | None, former: Sequence[EventId]
) -> Missing | None:
    """What lay between *cursor* and the first event that is kept; None if *cursor* is not of this
    history, or not before that. *former*: see `HistoryPage`."""
    if first_kept is None:
        return None
    ends = [one for one in former if cursor.epoch <= one.epoch < first_kept.epoch]
    ends.append(first_kept._replace(seq=first_kept.seq - 1))
    if ends[0].epoch != cursor.epoch or cursor.seq > ends[0].seq:
        return None
    begins = [cursor.seq + 1, *[1 for _ in ends[1:]]]
    return [
        (EventId(end.epoch, begin), end)
        for begin, end in zip(begins, ends, strict=True)
        if begin <= end.seq
    ]


def _gap_until(last: EventId, seen: EventId | None = None) -> bytes:
    first = EventId(last.epoch, seen.seq + 1 if seen is not None else 1)
    return sse_encoder.gap((first, last)) if first.seq <= last.seq else b""
