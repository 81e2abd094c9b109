"""Simulated executions: a table of made-up workflows, the events of a run, and their timing.

It neither publishes nor sleeps: `gateway.tools.dev.engine` and `sse-gateway publish --simulate` do.
"""

import asyncio
import heapq
import random
import uuid
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

Range = tuple[float, float]
"""Seconds from and to, at pace 1."""

_STEP: Range = (1.0, 4.0)
_BETWEEN_STEPS: Range = (0.2, 0.8)
_UNTIL_APPROVED: Range = (3.0, 6.0)
_APPROVAL_POLL: Range = (0.1, 0.2)


@dataclass(frozen=True, slots=True)
class Step:
    """One step: paused first if it `waits_for` somebody, failing if it has an `error`."""

    node_type: str
    waits_for: str | None = None
    error: str | None = None
    retried: bool = False
    """Its first attempt fails with `error`, the second one succeeds."""
    items: int = 1
    """How many times it runs, once for each item."""
    at_once: int = 1
    """How many of these run at the same time."""
    seconds: Range = _STEP


@dataclass(frozen=True, slots=True)
class Workflow:
    """What an execution does, in order, up to the first step that fails."""

    workflow_id: str
    steps: tuple[Step, ...]
    cancels: bool = False
    """Somebody cancels it after its last step."""


_APPROVAL = Step("approval", waits_for="approval")
_UNSURE = Step("webhook", error="The shop answered 503 Service Unavailable", retried=True)

DEMO = Workflow(
    "dev-demo",
    (
        _UNSURE,
        Step("google-docs"),
        Step("render", items=6, at_once=6, seconds=(2.0, 6.0)),
        _APPROVAL,
        Step("import", items=150, at_once=4, seconds=(0.4, 1.6)),
        Step("signature"),
        Step("email"),
    ),
)
"""Takes about a minute."""

# One after the other, so that the first minute shows everything that can happen.
WORKFLOWS = (
    Workflow(
        "dev-contract",
        (Step("google-docs"), Step("signature", waits_for="signature"), Step("email")),
    ),
    Workflow(
        "dev-report",
        (Step("spreadsheet"), Step("chart", items=5, at_once=5), Step("email"), Step("storage")),
    ),
    Workflow(
        "dev-onboarding",
        (Step("google-docs"), Step("signature", error="The signer's address does not exist")),
    ),
    Workflow(
        "dev-invoice",
        (_UNSURE, Step("google-docs"), _APPROVAL, Step("email")),
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
    "completed": Workflow(
        "dev-contract",
        (
            Step("webhook"),
            Step("google-docs"),
            _APPROVAL,
            Step("signature"),
            Step("email"),
        ),
    ),
    "failed": Workflow(
        "dev-onboarding",
        (
            Step("google-docs"),
            _APPROVAL,
            Step("signature", error="The signer's address does not exist"),
        ),
    ),
    "canceled": Workflow("dev-report", (Step("spreadsheet"), Step("google-docs")), cancels=True),
    "long": Workflow("dev-import", DEMO.steps),
}
"""What can be started: by its ending, or a long one that completes."""

ENDINGS = tuple(STARTABLE)

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
        self.is_over = False
        self._started = datetime.now(UTC)
        self._open: dict[str, tuple[datetime, dict[str, Any]]] = {}
        self._latest = self._failed_node = ""
        self._document_id: str | None = None

    def start_step(self, node_type: str, position: int, attempt: int = 1) -> bytes:
        """`step:started`; `complete_step` and `fail_step` then end this step. A further *attempt*
        is one of the node that failed last."""
        now = datetime.now(UTC)
        node_id = self._failed_node if attempt > 1 else str(uuid.uuid4())
        self._latest = node_id
        self._open[node_id] = (
            now,
            {
                "node_id": node_id,
                "node_type": node_type,
                "position": position,
                "attempt": attempt,
                "status": "running",
                "started_at": stamp(now),
            },
        )
        return _payload("step:started", self._open[node_id][1], now)

    @property
    def open_nodes(self) -> list[str]:
        """The ids of the nodes that run, in the order in which they began."""
        return list(self._open)

    def complete_step(self, node_id: str = "") -> bytes:
        """The end of the step of *node_id*, or of the one that began last."""
        now = datetime.now(UTC)
        began, step = self._open.pop(node_id or self._latest)
        output = {}
        if step["node_type"] in _MAKES_DOCUMENT:
            self._document_id = str(uuid.uuid4())
            # Without an address: nothing is there.
            output = {"document_id": self._document_id}
        duration_ms = _milliseconds(now - began)
        ended = _end_step(step, "success", now, duration_ms=duration_ms, output=output)
        return _payload("step:completed", ended, now)

    def fail_step(self, error: str) -> bytes:
        """The end of the step that began last."""
        now = datetime.now(UTC)
        self._failed_node = self._latest
        _, step = self._open.pop(self._latest)
        return _payload("step:failed", _end_step(step, "error", now, error=error), now)

    def pause(self, reason: str) -> bytes:
        """`execution:paused`, until the next step starts."""
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

    def _end(self, status: str, now: datetime, more: dict[str, Any]) -> bytes:
        self.is_over = True
        data = {"status": status, "completed_at": stamp(now), **more}
        return self._about_execution(f"execution:{status}", now, data)

    def _about_execution(self, event_type: str, now: datetime, data: dict[str, Any]) -> bytes:
        return _payload(event_type, {"execution_id": self.execution_id, **data}, now)


def _end_step(step: dict[str, Any], status: str, now: datetime, **more: Any) -> dict[str, Any]:
    return {**step, "status": status, "completed_at": stamp(now), **more}


def _payload(event_type: str, data: dict[str, Any], now: datetime) -> bytes:
    return orjson.dumps({"type": event_type, "data": data, "timestamp": stamp(now)})


def _milliseconds(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)


_MAX_PAUSED = 600.0
"""Seconds after which a paused execution continues without an approval, at any pace."""

SimulationStep = tuple[bytes | None, float]
"""The payload of an event, or None while it waits; and the seconds until the next one."""


def draw(seconds: Range, pace: float) -> float:
    """A random number of seconds in the range, divided by *pace*."""
    return random.uniform(*seconds) / pace  # noqa: S311 - a simulation


def simulate(run: Run, workflow: Workflow, pace: float) -> Iterator[SimulationStep]:
    """*run* to its end, *pace* times as fast; needs a running event loop."""
    for position, step in enumerate(workflow.steps, start=1):
        if step.waits_for and not run.pause_requested:
            yield from _wait(run, step.waits_for, draw(_UNTIL_APPROVED, pace), pace)
        elif run.pause_requested:
            yield from _wait(run, step.waits_for or "approval", _MAX_PAUSED, pace)
        if step.items > 1:
            yield from _for_each_item(run, step, position, pace)
            continue
        yield run.start_step(step.node_type, position), draw(step.seconds, pace)
        if step.error:
            yield run.fail_step(step.error), draw(_BETWEEN_STEPS, pace) if step.retried else 0.0
            if not step.retried:
                yield run.fail(step.error), 0.0
                return
            yield run.start_step(step.node_type, position, attempt=2), draw(step.seconds, pace)
        yield run.complete_step(), draw(_BETWEEN_STEPS, pace)
    yield run.cancel() if workflow.cancels else run.complete(), 0.0


def _for_each_item(run: Run, step: Step, position: int, pace: float) -> Iterator[SimulationStep]:
    """As many at once as the step says: one that ends makes room for the next."""
    # When each of those that run ends, in seconds after the first one's start.
    ends: list[tuple[float, str]] = []
    now = 0.0
    for _ in range(step.items):
        if len(ends) == step.at_once:
            now = yield from _until_one_ends(run, ends, now)
        yield run.start_step(step.node_type, position), 0.0
        heapq.heappush(ends, (now + draw(step.seconds, pace), run.open_nodes[-1]))
    while ends:
        now = yield from _until_one_ends(run, ends, now)


def _until_one_ends(
    run: Run, ends: list[tuple[float, str]], now: float
) -> Generator[SimulationStep, None, float]:
    end, node_id = heapq.heappop(ends)
    yield None, end - now
    yield run.complete_step(node_id), 0.0
    return end


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
