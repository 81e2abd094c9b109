"""The steps of a run, folded from its `step:*` events: one entry for each attempt of a step.

- An end belongs to the open attempt of its node that agrees with it in most of `started_at`,
  `position` and `attempt`, in this order, and contradicts none of them; among equals to the latest.
- An end without such an attempt is an entry of its own. A start that comes after it belongs to it
  if it has the same `started_at` or `attempt`, or, where these cannot be compared, an earlier
  timestamp. Every other start is a new attempt.
- The same end (node, position, attempt, status and times) counts once.
- What is open when the run ends is `interrupted`, until its own end comes.

Only what later events may belong to is kept.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, TypedDict

from gateway.events import fields

StepStatus = Literal["running", "success", "error", "interrupted"]

STEP_STARTED = "step:started"
_ENDED: Mapping[str, StepStatus] = {"step:completed": "success", "step:failed": "error"}

Pack = Callable[[object], Any]
"""Encodes a step's output for the log, where encoded output takes a tenth of the memory."""


class StepLog(TypedDict):
    """One attempt of one step. Times are ISO 8601 with their zone, the duration in ms."""

    node_id: str | None
    node_type: str | None
    position: int | float | None
    status: StepStatus
    started_at: str | None
    completed_at: str | None
    duration_ms: int | float | None
    output: Any
    error: str | None


class _Marks(NamedTuple):
    """By what an attempt is found; None for what its event does not say."""

    node: str | None
    began: int | None
    """Milliseconds since 1970."""
    position: int | float | None
    attempt: str | None

    def subsets(self) -> Iterator["_Marks"]:
        """With fewer and fewer marks, the weightiest last."""
        for began in {self.began: None, None: None}:
            for position in {self.position: None, None: None}:
                for attempt in {self.attempt: None, None: None}:
                    yield _Marks(self.node, began, position, attempt)


class _Attempt:
    """What one event says of an attempt."""

    __slots__ = ("at", "has_begin", "log", "marks")

    def __init__(self, log: StepLog, data: Mapping[str, object], at: str | None) -> None:
        began = fields.since_epoch(log["started_at"]) if log["started_at"] is not None else None
        self.log = log
        self.marks = _Marks(
            log["node_id"], began, log["position"], fields.label(data.get("attempt"))
        )
        self.has_begin = began is not None and data.get("started_at") is not None
        """Whether `marks.began` is what the producer said, not the time of the event."""
        self.at = at
        """When its event was published."""

    def contradicts(self, other: "_Attempt") -> bool:
        mine, others = self.marks, other.marks
        return (
            (self.has_begin and other.has_begin and mine.began != others.began)
            or _differ(mine.position, others.position)
            or _differ(mine.attempt, others.attempt)
        )


class _Attempts:
    """Attempts in the order in which they came, found by any of their marks."""

    def __init__(self) -> None:
        self.all: dict[int, _Attempt] = {}
        self._by_marks: dict[_Marks, dict[int, _Attempt]] = {}

    def add(self, attempt: _Attempt) -> None:
        self.all[id(attempt)] = attempt
        for marks in attempt.marks.subsets():
            self._by_marks.setdefault(marks, {})[id(attempt)] = attempt

    def take(
        self, event: _Attempt, belongs: Callable[[_Attempt, _Attempt], bool] = lambda *_: True
    ) -> StepLog | None:
        """Remove the attempt that *event* belongs to: of each set of marks the latest is asked."""
        for marks in event.marks.subsets():
            if found := self._by_marks.get(marks):
                attempt = next(reversed(found.values()))
                if not attempt.contradicts(event) and belongs(attempt, event):
                    self._remove(attempt)
                    return attempt.log
        return None

    def _remove(self, attempt: _Attempt) -> None:
        del self.all[id(attempt)]
        for marks in attempt.marks.subsets():
            found = self._by_marks[marks]
            del found[id(attempt)]
            if not found:
                del self._by_marks[marks]


class Steps:
    """Folds step events, one after the other."""

    def __init__(self, pack: Pack) -> None:
        self.completed = 0
        """Attempts that ended in success."""
        self.failed = 0
        """Attempts that ended in an error."""
        self._pack = pack
        self._open = _Attempts()
        # Ended, and their start has not come.
        self._without_start = _Attempts()
        # Hashes: a tenth of the memory of what they are of.
        self._ends: set[int] = set()
        self._has_run_ended = False
        self._run_ended_at: str | None = None

    @property
    def current_node(self) -> str | None:
        """The node that started last, of those that have not ended."""
        latest = next(reversed(self._open.all.values()), None)
        return latest.log["node_id"] if latest is not None else None

    @property
    def kept(self) -> int:
        """How many attempts are kept for later events."""
        return len(self._open.all) + len(self._without_start.all)

    @property
    def ends(self) -> int:
        """How many different ends are remembered."""
        return len(self._ends)

    def add(self, event_type: str, data: Mapping[str, object], at: str | None) -> StepLog | None:
        """Add one event, published *at* this time, and return the step that it started or ended;
        None for other types, and for an end that was added before."""
        if event_type == STEP_STARTED:
            return self._start(data, at)
        if event_type in _ENDED:
            return self._end(_ENDED[event_type], data, at)
        return None

    def end_run(self, at: str | None) -> None:
        """The run has ended *at* this time: what is open is interrupted, also what starts later."""
        self._has_run_ended, self._run_ended_at = True, at
        for attempt in self._open.all.values():
            self._interrupt(attempt.log)

    def _start(self, data: Mapping[str, object], at: str | None) -> StepLog:
        log = self._new(data, fields.time_in(data, "started_at", at))
        start = _Attempt(log, data, at)
        if ended := self._without_start.take(start, _began):
            _complete(ended, log)
            ended["duration_ms"] = _first(ended["duration_ms"], _duration(ended))
            return ended
        self._open.add(start)
        if self._has_run_ended:
            self._interrupt(log)
        return log

    def _end(
        self, status: StepStatus, data: Mapping[str, object], at: str | None
    ) -> StepLog | None:
        log = self._new(data, fields.time(data.get("started_at")))
        given = data.get("status")
        log["status"] = given if given in ("success", "error") else status
        log["completed_at"] = fields.time_in(data, "completed_at", at)
        end = _Attempt(log, data, at)
        identity = hash((log["started_at"], log["completed_at"], log["status"], end.marks))
        is_known = identity in self._ends
        if is_known and log["completed_at"] is not None:
            return None
        step = self._open.take(end)
        if step is not None:
            _complete(log, step)
        elif is_known:
            # Without a time it is a further end only where something was open.
            return None
        log["duration_ms"] = _first(fields.number(data.get("duration_ms")), _duration(log))
        log["error"] = fields.error_text(data, "error", "error_message")
        log["output"] = self._pack(data.get("output"))
        self._ends.add(identity)
        if log["status"] == "success":
            self.completed += 1
        else:
            self.failed += 1
        if step is not None:
            step.update(log)
            return step
        self._without_start.add(end)
        return log

    def _interrupt(self, log: StepLog) -> None:
        log["status"] = "interrupted"
        log["completed_at"] = self._run_ended_at
        # Not 0 ms for a step that started after the end.
        log["duration_ms"] = _duration(log) or None

    def _new(self, data: Mapping[str, object], started_at: str | None) -> StepLog:
        return StepLog(
            node_id=fields.label(data.get("node_id")),
            node_type=fields.label(data.get("node_type")),
            position=fields.number(data.get("position")),
            status="running",
            started_at=started_at,
            completed_at=None,
            duration_ms=None,
            output=None,
            error=None,
        )


def _differ(one: object, other: object) -> bool:
    return one is not None and other is not None and one != other


def _began(end: _Attempt, start: _Attempt) -> bool:
    """Whether *start*, which came after *end* and does not contradict it, is its start."""
    if end.has_begin and start.has_begin:
        return True
    if None not in (end.marks.attempt, start.marks.attempt):
        return True
    if end.at is None or start.at is None:
        return False
    return fields.since_epoch(start.at) <= fields.since_epoch(end.at)


def _complete(log: StepLog, other: StepLog) -> None:
    """Put into *log* what it does not say and *other* does."""
    log["node_type"] = log["node_type"] or other["node_type"]
    log["position"] = _first(log["position"], other["position"])
    log["started_at"] = log["started_at"] or other["started_at"]


def _duration(log: StepLog) -> int | None:
    return fields.milliseconds(log["started_at"], log["completed_at"])


def _first(one: int | float | None, other: int | float | None) -> int | float | None:
    return one if one is not None else other
