"""One simulated execution: what has happened in it, and each event as today's workers publish it.

It neither publishes nor waits: that is `gateway.tools.dev.engine`.
"""

import uuid
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

_KEPT_STEPS = 20
"""Most steps remembered of a run, since one of them never ends."""

_MAKES_DOCUMENT = frozenset({"google-docs", "spreadsheet", "signature"})

_ROLES = {"approval": "manager", "signature": "signer"}


def stamp(moment: datetime) -> str:
    """A time as today's workers write it: UTC, without a zone."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat()


class Run:
    """One execution. Each method lets something happen now and returns the event's payload."""

    def __init__(self, execution_id: str, workflow_id: str = "") -> None:
        self.execution_id = execution_id
        self.workflow_id = workflow_id
        self.is_held = False
        """Somebody wants it to pause before its next step, until it is approved."""
        self.is_approved = False
        self.status = "running"
        self._started = datetime.now(UTC)
        self._completed_at: str | None = None
        self._step_started = self._started
        self._steps: deque[dict[str, Any]] = deque(maxlen=_KEPT_STEPS)
        self._document_id: str | None = None

    @property
    def is_over(self) -> bool:
        """Whether it has ended, however."""
        return self._completed_at is not None

    def document(self) -> dict[str, Any]:
        """What the page lists: `steps` holds the data of each one's newest event."""
        return {
            "id": self.execution_id,
            "workflow_id": self.workflow_id,
            "status": self.status,
            "started_at": stamp(self._started),
            "completed_at": self._completed_at,
            "steps": list(self._steps),
        }

    def start_step(self, node_type: str, position: int) -> bytes:
        """`step:started`; the methods about a step then mean this one."""
        self.status = "running"
        now = self._step_started = datetime.now(UTC)
        step = {
            "node_id": str(uuid.uuid4()),
            "node_type": node_type,
            "position": position,
            "status": "running",
            "started_at": stamp(now),
        }
        self._steps.append(step)
        return _payload("step:started", step, now)

    def complete_step(self) -> bytes:
        """`step:completed`."""
        now = datetime.now(UTC)
        output = {}
        if self._steps[-1]["node_type"] in _MAKES_DOCUMENT:
            self._document_id = str(uuid.uuid4())
            output = {
                "document_id": self._document_id,
                "file_url": f"https://files.example.com/d/{self._document_id}",
            }
        duration_ms = _milliseconds(now - self._step_started)
        step = self._end_step("success", now, duration_ms=duration_ms, output=output)
        return _payload("step:completed", step, now)

    def fail_step(self, error: str) -> bytes:
        """`step:failed`."""
        now = datetime.now(UTC)
        return _payload("step:failed", self._end_step("error", now, error=error), now)

    def pause(self, reason: str) -> bytes:
        """`execution:paused`, until the next step starts."""
        self.status = "paused"
        data = {"reason": reason, "waiting_for": {"role": _ROLES[reason]}}
        return self._about_execution("execution:paused", datetime.now(UTC), data)

    def complete(self) -> bytes:
        """`execution:completed`."""
        now = datetime.now(UTC)
        more = {
            "execution_time_ms": _milliseconds(now - self._started),
            "generated_document_id": self._document_id,
        }
        return self._end("completed", now, more)

    def fail(self, error_message: str) -> bytes:
        """`execution:failed`."""
        return self._end("failed", datetime.now(UTC), {"error_message": error_message})

    def cancel(self) -> bytes:
        """`execution:canceled`."""
        return self._end("canceled", datetime.now(UTC), {})

    def _end_step(self, status: str, now: datetime, **more: Any) -> dict[str, Any]:
        step = {**self._steps.pop(), "status": status, "completed_at": stamp(now), **more}
        self._steps.append(step)
        return step

    def _end(self, status: str, now: datetime, more: dict[str, Any]) -> bytes:
        self.status = status
        self._completed_at = stamp(now)
        data = {"status": status, "completed_at": self._completed_at, **more}
        return self._about_execution(f"execution:{status}", now, data)

    def _about_execution(self, event_type: str, now: datetime, data: dict[str, Any]) -> bytes:
        return _payload(event_type, {"execution_id": self.execution_id, **data}, now)


def _payload(event_type: str, data: dict[str, Any], now: datetime) -> bytes:
    return orjson.dumps({"type": event_type, "data": data, "timestamp": stamp(now)})


def _milliseconds(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)
