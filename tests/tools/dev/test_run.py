"""What one simulated execution tells of itself, and the workflows that are played."""

from typing import Any

import orjson
import pytest

from gateway.tools.dev.simulation import DEMO, WORKFLOWS, Run, Workflow


def read(payload: bytes) -> dict[str, Any]:
    """The data of an event; its envelope is that of today's workers."""
    envelope = orjson.loads(payload)
    assert list(envelope) == ["type", "data", "timestamp"]
    data: dict[str, Any] = envelope["data"]
    return data


def test_step() -> None:
    """The events of one step name the same node and the same start."""
    run = Run("run-1")
    started = read(run.start_step("email", 1))
    assert started["status"] == "running"
    completed = read(run.complete_step())
    assert completed["status"] == "success"
    shared = ("node_id", "node_type", "position", "started_at")
    assert [completed[name] for name in shared] == [started[name] for name in shared]
    assert started["started_at"] <= completed["completed_at"]


def test_pause() -> None:
    """A paused execution says whom it waits for."""
    run = Run("run-1")
    paused = read(run.pause("approval"))
    assert paused == {
        "execution_id": "run-1",
        "reason": "approval",
        "waiting_for": {"role": "manager"},
    }


def test_completion() -> None:
    """A completed execution names the last document that one of its steps has made."""
    run = Run("run-1")
    run.start_step("google-docs", 1)
    made = read(run.complete_step())["output"]
    run.start_step("email", 2)
    assert read(run.complete_step())["output"] == {}
    data = read(run.complete())
    assert data["generated_document_id"] == made["document_id"]
    assert data["execution_time_ms"] >= 0
    assert data["status"] == "completed"
    assert run.is_over


def test_failure() -> None:
    """A step that fails and the execution that it ends both say why."""
    run = Run("run-1")
    run.start_step("webhook", 1)
    step = read(run.fail_step("The shop is closed"))
    assert (step["status"], step["error"]) == ("error", "The shop is closed")
    assert read(run.fail("The shop is closed"))["error_message"] == "The shop is closed"
    assert run.is_over


@pytest.mark.parametrize("workflow", [DEMO, *WORKFLOWS], ids=lambda one: one.workflow_id)
def test_workflows(workflow: Workflow) -> None:
    """What is written down is also played: nothing stands after a step that fails for good, and
    every pause is for something that a run knows who decides."""
    assert all(step.error is None or step.retried for step in workflow.steps[:-1])
    for step in workflow.steps:
        if step.waits_for:
            Run("run-1").pause(step.waits_for)


def test_variety() -> None:
    """Some workflows complete, some fail, some pause; the one that is shown first does not fail,
    and has all else that can happen."""
    failing = [any(step.error and not step.retried for step in one.steps) for one in WORKFLOWS]
    assert set(failing) == {True, False}
    assert any(step.waits_for for one in WORKFLOWS for step in one.steps)
    assert not any(step.error and not step.retried for step in DEMO.steps)
    assert any(step.retried for step in DEMO.steps)
    assert any(step.at_once > 1 for step in DEMO.steps)
