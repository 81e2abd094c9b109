"""The run document: the state of a run, folded from the events of its history.

Whatever JSON an event holds, nothing here raises. The browser client has the same rules, and both
are checked with the vectors in `tests/events/vectors`.

- Any event makes a pending run `running`; `execution:paused` makes it `paused`, until
  `execution:resumed` or a step that starts or ends.
- The first terminal event ends the run, and interrupts the steps that are open then. Later events
  are still among the events and in the logs: an end that came late takes the place of an
  interruption.
- Ids of events count up by one. Where some are missing, the run shows what the rest says, and says
  that it is a part (`complete`).
"""

from collections.abc import Mapping
from typing import Any, Literal, NotRequired, TypedDict

from gateway.events import fields
from gateway.events.ending import EndingStatus, TerminalTypes, ending_status
from gateway.events.ids import EventId, parse_id
from gateway.events.steps import Pack, StepLog, Steps

RunStatus = Literal["pending", "running", "paused"] | EndingStatus


class RunDocument(TypedDict):
    """One run. Times are ISO 8601 with their zone, the duration in ms."""

    id: str
    workflow_id: str
    status: RunStatus
    started_at: str | None
    completed_at: str | None
    duration_ms: int | float | None
    current_node: str | None
    """The step that started last, of those that have not ended."""
    steps_completed: int
    """Attempts that ended in success."""
    error_message: str | None
    generated_document_id: str | None
    last_event_id: str | None
    """Continue from here: a stream with `Last-Event-ID`, the next poll with `after`."""
    complete: bool | None
    """Whether this is folded from all events; None where events have no ids, which tell."""
    events_missing: int | None
    """Events that are no longer kept; None where it is not known."""
    step_events_total: NotRequired[dict[str, int] | None]
    """Step events of the whole run as they were counted when they were recorded (`started`,
    `completed`, `failed`), repeated ones too; None where it is not known. From polls only."""
    execution_logs_from: NotRequired[str | None]
    """The id of the event from which on the logs are complete."""
    execution_logs: NotRequired[list[StepLog]]
    events: NotRequired[list[Any]]
    more: NotRequired[bool]
    """Where events were limited: whether more follow."""
    cursor: NotRequired[str]
    """Of a poll with `after`: `valid`, `gap` or `reset`, as `HistoryPage.cursor_status`."""
    reset_reason: NotRequired[str]
    """With `reset`: the reason that a stream gives."""


class RunFold:
    """Folds events one after the other, in the order of their history.

    It keeps a few values and the open steps, however long the history.
    """

    def __init__(
        self,
        terminal_types: TerminalTypes,
        *,
        pack: Pack = lambda output: output,
        started_at: str | None = None,
        missing: int | None = None,
    ) -> None:
        """*pack* encodes a step's output for the log. *started_at*, *missing*: when the run's first
        event happened, and how many come before the first that is added, where it is known."""
        self.terminal_types = terminal_types
        self._pack = pack
        self._steps = Steps(pack)
        self._status: RunStatus = "pending"
        self._has_ended = False
        self._started_at = started_at
        self._completed_at: str | None = None
        self._duration_ms: int | float | None = None
        self._error_message: str | None = None
        self._generated_document_id: str | None = None
        self._last_event_id: str | None = None
        self._position: EventId | None = None
        self.missing_at_first = missing
        """How many events come before the first one; None where only its id tells."""
        self._events_missing: int | None = 0
        self.logs_from: str | None = None
        """See `execution_logs_from`."""

    def add(self, envelope: object, *, ends: bool | None = None) -> StepLog | None:
        """Add one parsed envelope; *ends*: whether it is the terminal event; by default
        its type decides. Returns the step that it started or ended."""
        if not isinstance(envelope, dict):
            return None
        event_type = fields.label(envelope.get("type")) or ""
        data = envelope.get("data")
        if not isinstance(data, dict):
            data = {}
        at = fields.time(envelope.get("timestamp"))
        self._last_event_id = fields.label(envelope.get("id")) or self._last_event_id
        self._count(parse_id(envelope.get("id")))
        step = self._steps.add(event_type, data, at)
        if not self._has_ended:
            if not self._events_missing:
                # Else it started before what is kept, and nobody knows when.
                self._started_at = self._started_at or fields.time(data.get("started_at")) or at
            if event_type in self.terminal_types if ends is None else ends:
                types, trimmed = self.terminal_types, envelope.get("trimmed")
                self._end(ending_status(event_type, data, types, trimmed), data, at)
            else:
                self._continue(event_type, step)
        return step

    def end(self, status: EndingStatus, event_id: str, at: str | None = None) -> None:
        """The run has ended in this way, *at* this time if it is known, with an event that history
        no longer keeps."""
        if not self._has_ended:
            self._last_event_id = self._last_event_id or event_id
            if self._position is None and (end := parse_id(event_id)):
                self._count(end.next())
            self._end(status, {}, at)

    def forget_steps(self) -> None:
        """Forget the steps so far, which take memory: what is known of the run itself stays."""
        self._steps = Steps(self._pack)
        self._events_missing = max(1, self._events_missing or 0)

    def document(self, execution_id: str, workflow_id: str) -> RunDocument:
        """The run after the events so far; the caller adds logs and events."""
        return RunDocument(
            id=execution_id,
            workflow_id=workflow_id,
            status=self._status,
            started_at=self._started_at,
            completed_at=self._completed_at,
            duration_ms=self._duration_ms,
            current_node=None if self._has_ended else self._steps.current_node,
            steps_completed=self._steps.completed,
            error_message=self._error_message,
            generated_document_id=self._generated_document_id,
            last_event_id=self._last_event_id,
            complete=None if self._events_missing is None else self._events_missing == 0,
            events_missing=self._events_missing,
        )

    def add_other(self, event_id: str) -> None:
        """Add an event that changes nothing but the position: none of a step or of the execution
        itself, in a run that has begun."""
        self._last_event_id = event_id
        self._count(parse_id(event_id))

    @property
    def has_begun(self) -> bool:
        """Whether what is neither of a step nor of the execution itself changes nothing more."""
        return self._status != "pending" and (
            self._started_at is not None or bool(self._events_missing)
        )

    @property
    def has_ended(self) -> bool:
        return self._has_ended

    def _count(self, event_id: EventId | None) -> None:
        """Count what is missing before the event with this id."""
        if event_id is None:
            self._events_missing = None
            return
        known, self._position = self._position, event_id
        before = known.seq if known is not None and known.epoch == event_id.epoch else 0
        missing = event_id.seq - before - 1
        if known is None and self.missing_at_first is not None:
            missing = self.missing_at_first
        if missing < 0:
            # It came again, or late.
            self._position = known
        elif missing > 0 and self._events_missing is not None:
            self._events_missing += missing
        if missing > 0 or self.logs_from is None:
            self.logs_from = str(event_id)

    @property
    def steps_failed(self) -> int:
        """Attempts that ended in an error."""
        return self._steps.failed

    @property
    def step_ends(self) -> int:
        """Different ends of steps that are remembered."""
        return self._steps.ends

    @property
    def steps_kept(self) -> int:
        """Steps that later events may belong to."""
        return self._steps.kept

    def _continue(self, event_type: str, step: StepLog | None) -> None:
        if event_type == "execution:paused":
            self._status = "paused"
        elif step is not None or event_type == "execution:resumed" or self._status == "pending":
            self._status = "running"

    def _end(self, status: EndingStatus, data: Mapping[str, object], at: str | None) -> None:
        self._has_ended = True
        self._status = status
        self._completed_at = fields.time_in(data, "completed_at", at)
        self._steps.end_run(self._completed_at)
        self._duration_ms = fields.number(data.get("execution_time_ms"))
        if self._duration_ms is None:
            self._duration_ms = fields.milliseconds(self._started_at, self._completed_at)
        self._error_message = fields.error_text(data, "error_message", "error")
        self._generated_document_id = fields.label(data.get("generated_document_id"))
