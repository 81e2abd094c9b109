"""Consecutive events of one execution, joined once for all of its subscribers.

One write for many events is what makes bursts cheap: most of the cost of a delivery is the system
call. Pure: it does not know who gets it.
"""

from collections.abc import Iterable, Iterator

from gateway.events.ending import EndingStatus, TerminalTypes, status_of
from gateway.events.envelope import Event
from gateway.events.ids import EventId


class EventBatch:
    """Events whose ids follow one another, or events without ids."""

    __slots__ = ("before", "chunk", "data", "events", "first", "last", "terminal")

    def __init__(self, events: list[Event], terminal: EndingStatus | None = None) -> None:
        """*terminal*: how the execution ends with the last of *events*, if it does."""
        self.events = events
        self.terminal = terminal
        self.first = events[0].id
        self.last = events[-1].id
        self.before = (
            EventId(self.first.epoch, self.first.seq - 1) if self.first is not None else None
        )
        """The id that the first one follows: a subscriber that stands there takes it as it is."""
        self.data = events[0].frame if len(events) == 1 else b"".join(e.frame for e in events)
        self.chunk = as_chunk(self.data)
        """`data` as one chunk of an HTTP/1.1 body, framed once for all who get it."""

    def __len__(self) -> int:
        return len(self.events)

    def after(self, position: EventId) -> "EventBatch | None":
        """What of it comes after *position*, an id of the same epoch; None if nothing does."""
        rest = [event for event in self.events if event.id and event.id.seq > position.seq]
        return EventBatch(rest, self.terminal) if rest else None


def as_chunk(data: bytes) -> bytes:
    """*data*, which is not empty, as one chunk (RFC 9112, section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def event_batches(events: Iterable[Event], terminal_types: TerminalTypes) -> Iterator[EventBatch]:
    """*events* as batches: a new one begins after every hole, new epoch and terminal event."""
    together: list[Event] = []
    for event in events:
        if together and not _follows(together[-1].id, event.id):
            yield EventBatch(together)
            together = []
        together.append(event)
        if event.type in terminal_types:
            yield EventBatch(together, status_of(event.type, event.json, terminal_types))
            together = []
    if together:
        yield EventBatch(together)


def _follows(before: EventId | None, after: EventId | None) -> bool:
    if before is None or after is None:
        return before is after
    return after == before.next()
