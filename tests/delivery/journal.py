"""What one reader saw of an execution, checked as it comes; and what may be expected of it.

Whatever a reader must never see fails here at once. Whether it saw all there was is compared with
Redis's own history at the end: see `tests.delivery.account`.
"""

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from gateway.events.ids import EventId, parse_id
from tests.harness.sse import Seen

TERMINAL_TYPES = frozenset(
    {"execution:completed", "execution:failed", "execution:canceled", "execution:cancelled"}
)


class Entry(NamedTuple):
    """One event: its id, and the producer's JSON on one line, without id."""

    id: EventId
    payload: bytes


def on_one_line(payload: bytes) -> bytes:
    """A producer's JSON as it must reach a reader."""
    return payload.strip().replace(b"\r", b"").replace(b"\n", b"")


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a scenario may show its readers besides the events; by default nothing at all."""

    closings: frozenset[str] = frozenset()
    """Reasons of `stream:closing`."""
    cuts: bool = False
    """Connections that are refused, or end without the end of their body."""
    resets: bool = False
    """`stream:reset`: histories that are set back."""


class Names:
    """Every id that anybody was ever given, over all lives of all histories."""

    def __init__(self) -> None:
        self._payloads: dict[tuple[str, EventId], bytes] = {}

    def note(self, execution_id: str, entry: Entry) -> None:
        """*entry* was seen somewhere: no id may ever stand for two events."""
        known = self._payloads.setdefault((execution_id, entry.id), entry.payload)
        assert known == entry.payload, (
            f"{execution_id}: the id {entry.id} stands for {known!r} and for {entry.payload!r}"
        )


class Journal:
    """The events of one execution as one reader saw them, over all of its connections."""

    def __init__(self, execution_id: str, names: Names, allowed: Allowed) -> None:
        self.view: list[Entry] = []
        """All that it saw, since the last `stream:reset` if there was one."""
        self.resets = 0
        self.closings: Counter[str] = Counter()
        self.ended = False
        """It has seen the terminal event."""
        self.connected = False
        """Its connection has shown `connected`."""
        self.execution_id = execution_id
        self._names = names
        self._allowed = allowed
        self._closing: str | None = None
        self._has_cursor = False
        self._sent: str | None = None

    def connecting(self, cursor: str | None = None) -> None:
        """A new connection begins, whose request has *cursor*."""
        self.connected = False
        self._sent = cursor
        self._closing = None

    def loaded_anew(self) -> None:
        """The reader's page was reloaded: it begins without anything."""
        self.view = []
        self.ended = self._has_cursor = False

    def take(self, seen: Seen) -> None:
        """The reader's EventSource has dispatched *seen*."""
        assert self._closing is None, f"{seen} after stream:closing"
        match seen.event:
            case "connected":
                self._take_connected(seen)
            case "heartbeat":
                assert seen.id is None, seen
            case "stream:closing":
                self._take_closing(seen)
            case "stream:reset":
                self._take_reset(seen)
            case "stream:gap":
                raise AssertionError(f"lost: {seen.data} after {self.where()}")
            case _:
                self._take_event(seen)

    def disconnected(self, clean: bool) -> None:
        """The gateway has ended the connection; *clean*: with the end of its body."""
        if not clean:
            assert self._allowed.cuts, f"the stream was cut after {self.where()}"
        elif self._closing is None:
            assert self.ended, f"the stream ended without a reason after {self.where()}"

    def refused(self, status: int) -> None:
        """The answer was no stream: only 204 may come, and only after the end."""
        assert status == 204, f"HTTP {status} after {self.where()}"
        assert self.ended, f"HTTP 204 before the end, after {self.where()}"

    def _take_connected(self, seen: Seen) -> None:
        assert not self.connected, "connected twice"
        assert not self.ended, "a stream instead of HTTP 204 after the end"
        assert seen.id in (None, self._sent), seen
        assert seen.json()["execution_id"] == self.execution_id, seen
        self.connected = True

    def _take_closing(self, seen: Seen) -> None:
        self._closing = seen.json()["reason"]
        # Only an answer that is nothing but this frame has one.
        assert seen.id in (None, self._sent), seen
        assert self._closing in self._allowed.closings, f"{seen} after {self.where()}"
        self.closings[self._closing] += 1

    def _take_reset(self, seen: Seen) -> None:
        assert self._allowed.resets, f"{seen} after {self.where()}"
        assert seen.id is None, seen
        assert self._has_cursor, f"{seen} for a reader without a cursor"
        self.view = []
        self.resets += 1

    def _take_event(self, seen: Seen) -> None:
        assert self.connected, f"{seen} before connected"
        assert not self.ended, f"{seen} after the end, {self.where()}"
        event_id = parse_id(seen.id)
        assert event_id is not None, f"an event without an id of ours: {seen}"
        self._check_order(event_id)
        entry = Entry(event_id, _without_id(seen, event_id))
        self._names.note(self.execution_id, entry)
        self.view.append(entry)
        self._has_cursor = True
        self.ended = seen.event in TERMINAL_TYPES

    def _check_order(self, event_id: EventId) -> None:
        last = self.where()
        if last is not None and event_id.epoch == last.epoch:
            assert event_id == last.next(), f"{event_id} after {last}"
        else:
            # That this life is the one that follows in history is compared at the end.
            assert event_id.seq == 1, f"{event_id} after {last or 'nothing'}"

    def where(self) -> EventId | None:
        """The last event that it saw."""
        return self.view[-1].id if self.view else None


def _without_id(seen: Seen, event_id: EventId) -> bytes:
    """The producer's JSON out of an envelope, byte for byte."""
    data = seen.data.encode()
    start = b'{"id":"%s",' % str(event_id).encode()
    assert data.startswith(start), f"the envelope does not begin with its id: {seen}"
    assert seen.json()["type"] == seen.event, seen
    return b"{" + data.removeprefix(start)
