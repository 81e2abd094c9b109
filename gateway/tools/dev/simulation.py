"""Plays one simulated execution: which event comes next, and how long it then takes.

It neither publishes nor sleeps: that is `gateway.tools.dev.engine`, and `sse-gateway publish
--simulate`.
"""

import asyncio
import random
from collections.abc import Generator, Iterator

from gateway.tools.dev.run import Run
from gateway.tools.dev.script import Workflow

Pause = tuple[float, float]
"""A range of seconds, at pace 1."""

_A_STEP: Pause = (1.0, 4.0)
_BETWEEN_STEPS: Pause = (0.2, 0.8)
_UNTIL_APPROVED: Pause = (3.0, 6.0)
_A_MOMENT: Pause = (0.1, 0.2)

_MAX_PAUSED = 600.0
"""Seconds after which what somebody has paused goes on by itself, whatever the pace."""

SimulationStep = tuple[bytes | None, float]
"""The payload of an event, or None where somebody is waited for; and seconds until the next one."""


def draw(pause: Pause, pace: float) -> float:
    """Seconds out of the range, so many times faster than life."""
    return random.uniform(*pause) / pace  # noqa: S311 - a simulation


def simulate(run: Run, workflow: Workflow, pace: float) -> Iterator[SimulationStep]:
    """All of *run* to its end, *pace* times faster than life; needs a running loop."""
    error = yield from simulate_steps(run, workflow, pace)
    yield run.fail(error) if error else run.cancel() if workflow.cancels else run.complete(), 0.0


def simulate_steps(
    run: Run, workflow: Workflow, pace: float
) -> Generator[SimulationStep, None, str | None]:
    """The steps of *run* once; the value is the error of the one that failed."""
    for position, step in enumerate(workflow.steps, start=1):
        if step.waits_for and not run.is_held:
            yield from _wait(run, step.waits_for, draw(_UNTIL_APPROVED, pace), pace)
        elif run.is_held:
            yield from _wait(run, step.waits_for or "approval", _MAX_PAUSED, pace)
        yield run.start_step(step.node_type, position), draw(_A_STEP, pace)
        if step.error:
            yield run.fail_step(step.error), 0.0
            return step.error
        yield run.complete_step(), draw(_BETWEEN_STEPS, pace)
    return None


def _wait(run: Run, reason: str, seconds: float, pace: float) -> Iterator[SimulationStep]:
    """Pause *run* until it is approved, or for so many *seconds*."""
    now = asyncio.get_running_loop().time
    until = now() + seconds
    run.is_approved = False
    yield run.pause(reason), 0.0
    while not run.is_approved and (now() < until or run.is_held):
        if now() > until + _MAX_PAUSED:
            break
        yield None, draw(_A_MOMENT, pace)
    run.is_held = False
