"""A page of an execution's history as one reader needs it: events, and what the cursor is worth.

Pure: it decides what is sent to a reader (gap, reset, the end), not how history is read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
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
    `reset`: it belongs to another epoch of the history."""
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
        if not self.ending.kept:
            return True
        return bool(self.events) and self.events[-1].id == self.ending.id

    @property
    def is_end_lost(self) -> bool:
        """The execution has ended, and history no longer holds how."""
        return self.ending is not None and not self.ending.kept

    def is_over_for(self, cursor: EventId | None) -> bool:
        """Whether a reader with *cursor* has seen the end: it gets a 204 (CONTRACT.md)."""
        return (
            self.ending is not None and cursor is not None and cursor.is_at_or_after(self.ending.id)
        )

    def notices(self, cursor: EventId | None) -> bytes:
        """What a reader with *cursor* must be told before the events."""
        if self.is_end_lost:
            return self._gap_to_the_end(cursor)
        if self.cursor_status == "valid":
            return b""
        if self.cursor_status == "reset":
            restarted = self.run is not None and cursor is not None and cursor.epoch < self.run
            reset = sse_encoder.reset("restarted" if restarted else "history_lost")
            return reset + self._gap_before_the_first(0)
        return self._gap_before_the_first(cursor.seq if cursor is not None else 0)

    def _gap_before_the_first(self, seen: int) -> bytes:
        first = self.first_kept
        return _gap(first.epoch, seen + 1, first.seq - 1) if first is not None else b""

    def _gap_to_the_end(self, cursor: EventId | None) -> bytes:
        if self.ending is None:
            return b""
        end = self.ending.id
        known = cursor.seq if cursor is not None and cursor.epoch == end.epoch else 0
        return _gap(end.epoch, known + 1, end.seq)


def _gap(epoch: int, first: int, last: int) -> bytes:
    return sse_encoder.gap(EventId(epoch, first), EventId(epoch, last)) if first <= last else b""
