"""Simulated executions: a table of made-up workflows, the events of a run, and their timing.

It neither publishes nor sleeps: `gateway.tools.dev.engine` and `sse-gateway publish --simulate` do.
"""

import asyncio
import random
import uuid
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Step:
    """One step: paused first if it `waits_for` somebody, failing if it has an `error`."""

    node_type: str
    waits_for: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Workflow:
    """What an execution does, in order, up to the first step that fails."""

    workflow_id: str
    steps: tuple[Step, ...]
    cancels: bool = False
    """Somebody cancels it after its last step."""


_APPROVAL = Step("approval", waits_for="approval")

DEMO = Workflow(
    "dev-demo",
    (Step("webhook"), Step("google-docs"), _APPROVAL, Step("signature"), Step("email")),
)

# One after the other, so that the first minute shows everything that can happen.
WORKFLOWS = (
    Workflow(
        "dev-contract",
        (Step("google-docs"), Step("signature", waits_for="signature"), Step("email")),
    ),
    Workflow(
        "dev-report",
        (Step("spreadsheet"), Step("google-docs"), Step("email"), Step("storage")),
    ),
    Workflow(
        "dev-onboarding",
        (Step("google-docs"), Step("signature", error="The signer's address does not exist")),
    ),
    Workflow(
        "dev-invoice",
        (Step("webhook"), Step("google-docs"), _APPROVAL, Step("email")),
    ),
    Workflow(
        "dev-order",
        (
            Step("spreadsheet"),
            _APPROVAL,
            Step("webhook", error="The shop answered 503 Service Unavailable"),
        ),
    ),
)

STARTABLE = {
    "completed": Workflow("dev-contract", DEMO.steps),
    "failed": Workflow(
        "dev-onboarding",
        (
            Step("google-docs"),
            _APPROVAL,
            Step("signature", error="The signer's address does not exist"),
        ),
    ),
    "canceled": Workflow("dev-report", (Step("spreadsheet"), Step("google-docs")), cancels=True),
}
"""What the page can start, by its ending."""

ENDINGS = tuple(STARTABLE)

_KEPT_STEPS = 20
"""Most steps remembered of a run: the demo never ends."""

_MAKES_DOCUMENT = frozenset({"google-docs", "spreadsheet", "signature"})

_ROLES = {"approval": "manager", "signature": "signer"}


def stamp(moment: datetime) -> str:
    """A time as workers write it: UTC, without a zone."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat()


class Run:
    """One execution. Each method makes something happen now and returns the event's payload."""

    def __init__(self, execution_id: str, workflow_id: str = "") -> None:
        self.execution_id = execution_id
        self.workflow_id = workflow_id
        self.pause_requested = False
        """It pauses before its next step, until it is approved."""
        self.is_approved = False
        self.status = "running"
        self._started = datetime.now(UTC)
        self._completed_at: str | None = None
        self._step_started = self._started
        self._steps: deque[dict[str, Any]] = deque(maxlen=_KEPT_STEPS)
        self._document_id: str | None = None

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._completed_at is not None

    def document(self) -> dict[str, Any]:
        """What the page lists; `steps` holds the data of each step's newest event."""
        return {
            "id": self.execution_id,
            "workflow_id": self.workflow_id,
            "status": self.status,
            "started_at": stamp(self._started),
            "completed_at": self._completed_at,
            "steps": list(self._steps),
        }

    def start_step(self, node_type: str, position: int) -> bytes:
        """`step:started`; `complete_step` and `fail_step` then end this step."""
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
        now = datetime.now(UTC)
        return _payload("step:failed", self._end_step("error", now, error=error), now)

    def pause(self, reason: str) -> bytes:
        """`execution:paused`, until the next step starts."""
        self.status = "paused"
        data = {"reason": reason, "waiting_for": {"role": _ROLES[reason]}}
        return self._about_execution("execution:paused", datetime.now(UTC), data)

    def complete(self) -> bytes:
        now = datetime.now(UTC)
        more = {
            "execution_time_ms": _milliseconds(now - self._started),
            "generated_document_id": self._document_id,
        }
        return self._end("completed", now, more)

    def fail(self, error_message: str) -> bytes:
        return self._end("failed", datetime.now(UTC), {"error_message": error_message})

    def cancel(self) -> bytes:
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


Range = tuple[float, float]
"""Seconds from and to, at pace 1."""

_STEP: Range = (1.0, 4.0)
_BETWEEN_STEPS: Range = (0.2, 0.8)
_UNTIL_APPROVED: Range = (3.0, 6.0)
_APPROVAL_POLL: Range = (0.1, 0.2)

_MAX_PAUSED = 600.0
"""Seconds after which a paused execution continues without an approval, at any pace."""

SimulationStep = tuple[bytes | None, float]
"""The payload of an event, or None while it waits; and the seconds until the next one."""


def draw(seconds: Range, pace: float) -> float:
    """A random number of seconds in the range, divided by *pace*."""
    return random.uniform(*seconds) / pace  # noqa: S311 - a simulation


def simulate(run: Run, workflow: Workflow, pace: float) -> Iterator[SimulationStep]:
    """*run* to its end, *pace* times as fast; needs a running event loop."""
    error = yield from simulate_steps(run, workflow, pace)
    yield run.fail(error) if error else run.cancel() if workflow.cancels else run.complete(), 0.0


def simulate_steps(
    run: Run, workflow: Workflow, pace: float
) -> Generator[SimulationStep, None, str | None]:
    """The steps of *run* once; returns the error of the step that failed."""
    for position, step in enumerate(workflow.steps, start=1):
        if step.waits_for and not run.pause_requested:
            yield from _wait(run, step.waits_for, draw(_UNTIL_APPROVED, pace), pace)
        elif run.pause_requested:
            yield from _wait(run, step.waits_for or "approval", _MAX_PAUSED, pace)
        yield run.start_step(step.node_type, position), draw(_STEP, pace)
        if step.error:
            yield run.fail_step(step.error), 0.0
            return step.error
        yield run.complete_step(), draw(_BETWEEN_STEPS, pace)
    return None


def _wait(run: Run, reason: str, seconds: float, pace: float) -> Iterator[SimulationStep]:
    """Pause *run* until it is approved, or for *seconds*."""
    now = asyncio.get_running_loop().time
    until = now() + seconds
    run.is_approved = False
    yield run.pause(reason), 0.0
    while not run.is_approved and (now() < until or run.pause_requested):
        if now() > until + _MAX_PAUSED:
            break
        yield None, draw(_APPROVAL_POLL, pace)
    run.pause_requested = False
