"""What the simulated engine plays: made-up workflows, step by step.

A table and nothing else; `gateway.tools.dev.engine` plays it, and `gateway.tools.dev.simulation`
words the events.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """One step: paused before if it `waits_for` somebody, failing if it has an `error`."""

    node_type: str
    waits_for: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Workflow:
    """One workflow: what an execution of it does, in order, up to the first step that fails."""

    workflow_id: str
    steps: tuple[Step, ...]
    cancels: bool = False
    """Somebody cancels it after its last step."""


DEMO = Workflow(
    "dev-demo",
    (
        Step("webhook"),
        Step("google-docs"),
        Step("approval", waits_for="approval"),
        Step("signature"),
        Step("email"),
    ),
)

# In turn, so that all that can happen is seen within the first minute.
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
        (
            Step("webhook"),
            Step("google-docs"),
            Step("approval", waits_for="approval"),
            Step("email"),
        ),
    ),
    Workflow(
        "dev-order",
        (
            Step("spreadsheet"),
            Step("approval", waits_for="approval"),
            Step("webhook", error="The shop answered 503 Service Unavailable"),
        ),
    ),
)

STARTED = {
    "completed": Workflow(
        "dev-contract",
        (
            Step("webhook"),
            Step("google-docs"),
            Step("approval", waits_for="approval"),
            Step("signature"),
            Step("email"),
        ),
    ),
    "failed": Workflow(
        "dev-onboarding",
        (
            Step("google-docs"),
            Step("approval", waits_for="approval"),
            Step("signature", error="The signer's address does not exist"),
        ),
    ),
    "canceled": Workflow("dev-report", (Step("spreadsheet"), Step("google-docs")), cancels=True),
}
"""What somebody can start on the page, by how it ends."""

ENDINGS = tuple(STARTED)
"""How an execution that somebody starts may end."""
