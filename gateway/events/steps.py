"""The steps of a run, folded from its `step:*` events: one entry for each attempt of a step.

Without logs only the steps that have started and not ended are kept. An attempt that was started
again without having ended stays `running` in the log, as the events say.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypedDict

from gateway.events import fields

StepStatus = Literal["running", "success", "error"]

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


class Steps:
    """Folds step events, one after the other."""

    def __init__(self, *, keep_logs: bool, pack: Pack) -> None:
        self.completed = 0
        """Attempts that ended in success."""
        self.logs: list[StepLog] | None = [] if keep_logs else None
        self._pack = pack
        # The latest attempt of each node, in the order in which they started.
        self._open: dict[str | None, StepLog] = {}

    @property
    def current_node(self) -> str | None:
        """The node that started last, of those that have not ended."""
        return next(reversed(self._open), None)

    def add(self, event_type: str, data: Mapping[str, object], at: str | None) -> StepLog | None:
        """Add one event, published *at* this time, and return the step that it started or ended;
        other types have no effect."""
        if event_type == STEP_STARTED:
            return self._start(data, at)
        if event_type in _ENDED:
            return self._end(_ENDED[event_type], data, at)
        return None

    def _start(self, data: Mapping[str, object], at: str | None) -> StepLog:
        step = self._new(data)
        step["started_at"] = step["started_at"] or at
        # Removed first, so that a new attempt is the last one.
        self._open.pop(step["node_id"], None)
        self._open[step["node_id"]] = step
        return step

    def _end(self, status: StepStatus, data: Mapping[str, object], at: str | None) -> StepLog:
        step = self._open.pop(fields.label(data.get("node_id")), None)
        if step is None:
            # Its start was never published, or is no longer kept.
            step = self._new(data)
        else:
            step["node_type"] = fields.label(data.get("node_type")) or step["node_type"]
            step["position"] = _first(fields.number(data.get("position")), step["position"])
            step["started_at"] = fields.time(data.get("started_at")) or step["started_at"]
        given = data.get("status")
        step["status"] = given if given in ("success", "error") else status
        step["completed_at"] = fields.time(data.get("completed_at")) or at
        step["duration_ms"] = _first(
            fields.number(data.get("duration_ms")),
            fields.milliseconds(step["started_at"], step["completed_at"]),
        )
        step["error"] = fields.error_text(data, "error", "error_message")
        step["output"] = self._pack(data.get("output"))
        if step["status"] == "success":
            self.completed += 1
        return step

    def _new(self, data: Mapping[str, object]) -> StepLog:
        step = StepLog(
            node_id=fields.label(data.get("node_id")),
            node_type=fields.label(data.get("node_type")),
            position=fields.number(data.get("position")),
            status="running",
            started_at=fields.time(data.get("started_at")),
            completed_at=None,
            duration_ms=None,
            output=None,
            error=None,
        )
        if self.logs is not None:
            self.logs.append(step)
        return step


def _first(one: int | float | None, other: int | float | None) -> int | float | None:
    return one if one is not None else other
