"""Folds the history of an execution, page by page, into the run document that polls get.

What a run looks like is decided by `gateway.events.run`. Nothing here reads from Redis or writes.
"""

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import NamedTuple

import orjson

from gateway.bus.history import Entry, Page, envelope_of
from gateway.contract.meta import RunMeta
from gateway.events.envelope import STANDARD_RULES, EventRules, with_id
from gateway.events.history_page import CursorStatus
from gateway.events.ids import EventId
from gateway.events.json_edit import parse
from gateway.events.run import RunDocument, RunFold
from gateway.events.sse_encoder import ResetReason
from gateway.events.steps import StepLog
from gateway.metrics import Metrics

PAGE_OF_EVENTS_BYTES = 4 * 1024 * 1024
"""A page of events that was asked for with `limit` ends at this many bytes too."""

STEP_BYTES = 4 * 1024
"""What a step takes that later events may belong to, beside its output."""

EVENT_OVERHEAD = 512
"""Bytes that an event, or its step, takes beside its own."""

LEAST_BYTES = 16 * 1024
"""Bytes that a document counts beside its logs and events."""

END_BYTES = 128
"""What remains of a step that has ended, where logs are not kept."""

_CHUNK_BYTES = 64 * 1024


class Query(NamedTuple):
    """What a poll asks for."""

    with_logs: bool
    after: EventId | None = None
    """Only events that follow this one; None for all, also where the value was no event id."""
    limit: int | None = None
    """Most events of the answer; None for any number."""
    run: str = ""
    """The name of a former run of a restarted execution; empty for the present one."""


class HistoryRange(NamedTuple):
    """The part of a history that a document was folded from."""

    first: EventId | None
    last: EventId | None

    def tag(self, query: Query) -> str:
        """The opaque part of the entity tag."""
        logs = "logs" if query.with_logs else ""
        limit = "" if query.limit is None else f".{query.limit}"
        return f"{self.first or ''}.{self.last or ''}.{logs}.{query.after or ''}{limit}{query.run}"


@dataclass(frozen=True, slots=True)
class Document:
    """One answer: the run itself, and its logs and events as JSON in chunks."""

    range: HistoryRange
    run: RunDocument
    chunks: list[bytearray]

    @property
    def size(self) -> int:
        """Bytes of memory, about."""
        return sum(map(sys.getsizeof, self.chunks)) + LEAST_BYTES

    def head(self, workflow_id: str) -> bytes:
        """What comes before the chunks, with *workflow_id* as it was asked for or registered."""
        run = orjson.dumps({**self.run, "workflow_id": workflow_id})
        return run[:-1] if self.chunks else run


class DocumentBuilder:
    """Builds one document: `add` pages until `is_complete`, then `encode_logs`, then `document`.

    The first two are iterators, with one step for each event, so that the caller can pause.
    """

    def __init__(
        self,
        execution_id: str,
        query: Query,
        metrics: Metrics,
        rules: EventRules = STANDARD_RULES,
        meta: RunMeta | None = None,
    ) -> None:
        """*meta*: what is known of the run beside the events that are kept."""
        self._meta = meta or RunMeta()
        self._execution_id = execution_id
        self._query = query
        self._metrics = metrics
        self._rules = rules
        # With a limit the logs are those of the page's events; the others need not be kept.
        self._keeps_all_steps = query.with_logs and query.limit is None
        self._logs = [bytearray(b',"execution_logs":[')]
        self._last_page: Page
        self._reset(None)

    def _reset(self, first: EventId | None) -> None:
        pack = _encode if self._query.with_logs else lambda _: None
        self._run = RunFold(
            self._rules.terminal_types,
            pack=pack,
            started_at=self._meta.first_time,
            missing=self._meta.missing_before(first),
        )
        self._steps: dict[int, StepLog] = {}
        self._size = 0
        self.cursor: EventId | None = None
        """The last event of the history so far."""
        self.is_complete = False
        self._first = first
        self._has_end = False
        self._is_after_kept = False
        self._clear_page()

    def _clear_page(self) -> None:
        self._events = [bytearray(b'],"events":[')]
        self._listed = 0
        self._last_listed: EventId | None = None
        self._page_bytes = 0
        self._more = False
        if not self._keeps_all_steps:
            self._steps.clear()

    def add(self, page: Page) -> Iterator[bytes]:
        """Add a page of history; yields the payload of each event."""
        if self.cursor is None or page.cursor_status == "reset":
            # Reset: another epoch of the history has begun between two pages.
            if self.cursor is not None:
                self._meta = RunMeta()
            self._reset(page.first)
        self._last_page = page
        for entry in page.entries:
            # Which event ended the execution is in its history, as for the streams.
            self._add(entry, ends=entry.id == page.terminal)
            self.cursor = entry.id
            yield entry.payload
        if page.terminal is None or self._has_end:
            self.is_complete = self._has_end or not page.more
            if self.is_complete and self._query.run and self.cursor is not None:
                # It was restarted before its end.
                self._run.end("ended", str(self.cursor))
        elif not page.more:
            # The terminal event was either added just now, or is no longer kept.
            status = page.status(self._rules.terminal_types)
            self._run.end(status, str(page.terminal), self._meta.terminal_time)
            self.cursor = self.cursor or page.terminal
            # A page ends with the terminal event: one more page holds what came late.
            self._has_end = page.terminal_kept
            self.is_complete = not self._has_end

    def _add(self, entry: Entry, *, ends: bool) -> None:
        envelope = envelope_of(self._execution_id, entry, self._metrics, self._rules)
        if envelope is None:
            # No stream shows it either.
            return
        body, query = envelope.body, self._query
        if query.limit is not None and self._listed:
            full = self._listed >= query.limit or self._page_bytes >= PAGE_OF_EVENTS_BYTES
            self._more = self._more or full
        step = self._run.add({**parse(body), "id": str(entry.id)}, ends=ends)
        is_listed = query.with_logs and not self._more
        if is_listed:
            # The producer's bytes: encoding them again would alter numbers.
            _append(self._events, with_id(body, entry.id), self._listed)
            self._listed += 1
            self._last_listed = entry.id
            self._page_bytes += len(body)
            self._size += len(body) + EVENT_OVERHEAD
        if step is not None:
            self._add_step(step, len(body), is_listed=is_listed)
        if query.with_logs and entry.id == query.after:
            # Known only now: a poll after an event that is not kept gets all, as a stream does.
            self._is_after_kept = True
            self._clear_page()

    def _add_step(self, step: StepLog, size: int, *, is_listed: bool) -> None:
        if not self._keeps_all_steps:
            # Listed once, with its latest event.
            self._steps.pop(id(step), None)
        if self._keeps_all_steps or is_listed:
            self._steps[id(step)] = step
        elif step["status"] != "running":
            # A hash of its end is kept.
            self._size += END_BYTES
            return
        self._size += max(size, len(step["output"] or b"")) + EVENT_OVERHEAD

    @property
    def size(self) -> int:
        """Bytes of memory, about: never less than it takes."""
        return self._size + STEP_BYTES * self._run.steps_kept

    @property
    def range(self) -> HistoryRange:
        """What the pages so far cover."""
        return HistoryRange(self._first, self.cursor)

    def encode_logs(self) -> Iterator[bytes]:
        """Encode the logs of the steps; yields each."""
        for number, step in enumerate(self._steps.values()):
            if step["output"] is not None:
                step["output"] = orjson.Fragment(step["output"])
            encoded = orjson.dumps(step)
            # Not in memory twice.
            step["output"] = None
            _append(self._logs, encoded, number)
            yield encoded

    def document(self) -> Document:
        """The document; the builder is used up."""
        run = self._run.document(self._execution_id, "")
        total = self._meta.steps
        run["step_events_total"] = asdict(total) if total is not None else None
        if not self._query.with_logs:
            return Document(self.range, run, [])
        run["execution_logs_from"] = self._run.logs_from
        if self._query.after is not None:
            run["cursor"], reason = self._cursor(self._query.after)
            if reason is not None:
                run["reset_reason"] = reason
        if self._more:
            # Where the next page begins.
            run["last_event_id"] = str(self._last_listed)
        self._events[-1] += b"]"
        if self._query.limit is not None:
            self._events[-1] += b',"more":%b' % orjson.dumps(self._more)
        self._events[-1] += b"}"
        return Document(self.range, run, [*self._logs, *self._events])

    def _cursor(self, after: EventId) -> tuple[CursorStatus, ResetReason | None]:
        """What *after* was worth, as a stream with that cursor would say it."""
        page, first = self._last_page, self._first
        if self._is_after_kept:
            return "valid", None
        if page.run is not None and after.epoch < page.run:
            return "reset", "restarted"
        if page.terminal is not None and not page.terminal_kept:
            return ("valid" if after.is_at_or_after(page.terminal) else "gap"), None
        if first is not None and first.epoch == after.epoch and after.seq < first.seq:
            return "gap", None
        return "reset", "history_lost"


def _encode(output: object) -> bytes | None:
    """A step's output as JSON: a tenth of the memory of its objects."""
    try:
        return orjson.dumps(output)
    except orjson.JSONEncodeError:
        # Nested too deep to be encoded: it shows in its event alone.
        return None


def _append(chunks: list[bytearray], element: bytes, number: int) -> None:
    """Add the element with this number, from 0, of a JSON array."""
    if len(chunks[-1]) + len(element) > _CHUNK_BYTES:
        chunks.append(bytearray())
    if number:
        chunks[-1] += b","
    chunks[-1] += element
