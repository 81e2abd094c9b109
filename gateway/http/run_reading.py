"""Folds a history into what one poll is answered: the run document, in pieces that can be written.

What a run looks like is decided by `gateway.events.run`. It neither reads nor writes.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import orjson

from gateway.bus.history import Entry, Page, envelope_of
from gateway.events.envelope import with_id
from gateway.events.ids import EventId
from gateway.events.json_edit import parse
from gateway.events.run import RunDocument, RunFold
from gateway.events.steps import StepLog
from gateway.metrics import Metrics

PAGE_OF_EVENTS_BYTES = 4 * 1024 * 1024
"""A page of events that was asked for with `limit` ends at this many bytes too."""

STRETCH_BYTES = 128 * 1024
"""Bytes of history that are folded without a pause; one event may be larger."""

EVENT_OVERHEAD = 512
"""Bytes that an event, or its step, takes beside its own."""

LEAST_BYTES = 16 * 1024
"""What a document counts as beside its logs and events."""


class Asked(NamedTuple):
    """What a poll asks for."""

    with_logs: bool
    after: EventId | None
    """Only events that follow this one; None for all, also where the reader sent nonsense."""
    limit: int | None = None
    """Most events of the answer; None for any number."""


class State(NamedTuple):
    """Which part of a history a document was folded from."""

    first: EventId | None
    last: EventId | None

    def tag(self, asked: Asked) -> str:
        """The opaque part of the entity tag."""
        logs = "logs" if asked.with_logs else ""
        limit = "" if asked.limit is None else f".{asked.limit}"
        return f"{self.first or ''}.{self.last or ''}.{logs}.{asked.after or ''}{limit}"


@dataclass(slots=True)
class Document:
    """One answer: the run itself, and the pieces of its logs and events, which are JSON."""

    state: State
    run: RunDocument
    pieces: list[bytes]

    @property
    def size(self) -> int:
        """Bytes of memory, about."""
        return sum(map(sys.getsizeof, self.pieces)) + LEAST_BYTES

    def head(self, workflow_id: str) -> bytes:
        """What comes before the pieces, as *workflow_id* was asked for or registered."""
        whole = orjson.dumps({**self.run, "workflow_id": workflow_id})
        return whole[:-1] if self.pieces else whole


def stretches(page: Page) -> Iterator[Page]:
    """*page* as smaller ones of `STRETCH_BYTES`, between which others may run."""
    begin = size = 0
    cursor_status = page.cursor_status
    for index, entry in enumerate(page.entries):
        if size and size + len(entry.payload) > STRETCH_BYTES:
            yield replace(
                page, cursor_status=cursor_status, entries=page.entries[begin:index], more=True
            )
            begin, size, cursor_status = index, 0, "valid"
        size += len(entry.payload)
    yield replace(page, cursor_status=cursor_status, entries=page.entries[begin:])


class _Packer:
    """Makes of a step's output what its log holds: JSON, or nothing where nobody asked for it.

    An object of its own: as a method of `Reading` it would tie that and its fold to each other, and
    the collector, which comes seldom (`gateway.process`), would find their bytes late.
    """

    def __init__(self, *, wanted: bool) -> None:
        self.wanted = wanted
        self.size = 0
        """Bytes of the last one."""

    def __call__(self, output: object) -> orjson.Fragment | None:
        """What is nested too deep to be encoded shows in its event alone."""
        if not self.wanted:
            return None
        try:
            encoded = orjson.dumps(output)
        except orjson.JSONEncodeError:
            return None
        self.size = len(encoded)
        return orjson.Fragment(encoded)


class Reading:
    """What has been read of a history so far, page by page."""

    def __init__(self, execution_id: str, asked: Asked, metrics: Metrics) -> None:
        self._execution_id = execution_id
        self._asked = asked
        self._metrics = metrics
        # With a limit the logs are those of the page's events: the rest need not be held.
        self._keeps_all = asked.with_logs and asked.limit is None
        self._begin(None)

    def _begin(self, first: EventId | None) -> None:
        self._pack = _Packer(wanted=self._asked.with_logs)
        self.run = RunFold(
            keep_logs=self._keeps_all,
            # No types: which event ended the execution stands in its history, as for the streams.
            terminal_types=(),
            pack=self._pack,
        )
        self.size = 0
        """Bytes of memory, about: never less than it takes."""
        self.cursor: EventId | None = None
        self._first = first
        self._has_end = False
        self._clear()

    def _clear(self) -> None:
        """Nothing so far is among the events that were asked for."""
        self._events: dict[EventId, bytes] = {}
        self._steps: dict[int, StepLog] = {}
        self._events_size = 0
        self._more = False
        self._pack.wanted = self._asked.with_logs

    def add(self, page: Page) -> bool:
        """Take in a page; True if another one follows."""
        if self.cursor is None or page.cursor_status == "reset":
            # The latter: another life of the history has begun between two pages.
            self._begin(page.first)
        for entry in page.entries:
            self._add(entry, ends=entry.id == page.terminal)
            self.cursor = entry.id
        if page.more and not self._has_end:
            return True
        if page.terminal is None or self._has_end:
            return False
        # It was folded just now, or history no longer holds it.
        self.run.end(page.terminal_type, str(page.terminal))
        self.cursor = self.cursor or page.terminal
        # A page ends with the terminal event: one more has what came late.
        self._has_end = page.terminal_kept
        return self._has_end

    def _add(self, entry: Entry, *, ends: bool) -> None:
        envelope = envelope_of(self._execution_id, entry, self._metrics)
        if envelope is None:
            # No stream shows it either.
            return
        body = envelope.body
        if not self._keeps_all and self._events:
            limit = self._asked.limit or 0
            full = len(self._events) >= limit or self._events_size >= PAGE_OF_EVENTS_BYTES
            self._more = self._more or full
            self._pack.wanted = self._asked.with_logs and not self._more
        self._pack.size = 0
        step = self.run.add({**parse(body), "id": str(entry.id)}, ends=ends)
        if step is not None and (self._keeps_all or step["status"] == "running"):
            self.size += max(len(body), self._pack.size) + EVENT_OVERHEAD
        if self._asked.with_logs:
            self._show(entry.id, body, step)

    def _show(self, event_id: EventId, body: bytes, step: StepLog | None) -> None:
        """It is among the events that were asked for, unless the page of these is full."""
        if step is not None and not self._keeps_all:
            # Listed with its latest event, once.
            self._steps.pop(id(step), None)
        if not self._more:
            self.size += len(body) + EVENT_OVERHEAD
            self._events_size += len(body)
            # The producer's bytes: encoding again would alter numbers.
            self._events[event_id] = with_id(body, event_id)
            if step is not None and not self._keeps_all:
                self.size += max(len(body), self._pack.size) + EVENT_OVERHEAD
                self._steps[id(step)] = step
        if event_id == self._asked.after:
            # Only now is it certain that it is kept: else a reader gets all, as from a stream.
            self._clear()

    @property
    def state(self) -> State:
        """What it was folded from."""
        return State(self._first, self.cursor)

    def document(self, workflow_id: str) -> RunDocument:
        """The run document, ready to be encoded."""
        document = self.run.document(self._execution_id, workflow_id)
        if not self._asked.with_logs:
            return document
        if self._asked.limit is not None:
            document["execution_logs"] = list(self._steps.values())
        document["events"] = [orjson.Fragment(event) for event in self._events.values()]
        if self._asked.limit is not None:
            document["more"] = self._more
            if self._more:
                # Where the next page begins.
                document["last_event_id"] = str(next(reversed(self._events)))
        return document

    def pieces(self, document: RunDocument) -> Iterator[bytes]:
        """The members of *document* that may be large, one by one, and the brace that ends it;
        they are taken out of it."""
        logs, _ = document.pop("execution_logs"), document.pop("events")
        more = document.pop("more", None)
        yield b',"execution_logs":['
        for number, step in enumerate(logs):
            if number:
                yield b","
            yield orjson.dumps(step)
            # It stands in its piece now.
            step["output"] = step["error"] = None
        yield b'],"events":['
        for number, event in enumerate(self._events.values()):
            if number:
                yield b","
            yield event
        yield b"]}" if more is None else b'],"more":%b}' % orjson.dumps(more)
