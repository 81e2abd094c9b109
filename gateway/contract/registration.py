"""Registering an execution: the script's arguments, and what its answer means.

The first registration of an execution wins.
"""

from dataclasses import dataclass

from gateway.contract.keys import events_key, memory_key, meta_key
from gateway.contract.scripts import OWN_KEYS, Call, HistoryLimits, Script
from gateway.errors import GatewayError
from gateway.events.envelope import execution_id_problem

REGISTER = Script(OWN_KEYS, "register.lua")


class RegistrationRefused(GatewayError):
    """An execution cannot be registered like this; `str(error)` says why."""


@dataclass(frozen=True, slots=True)
class Registration:
    """An execution, the organization that may watch it, and the workflow that it is a run of.

    Raises:
        RegistrationRefused: one of the ids is not valid.
    """

    execution_id: str
    organization_id: str
    workflow_id: str | None = None

    def __post_init__(self) -> None:
        if (problem := execution_id_problem(self.execution_id)) is not None:
            raise RegistrationRefused(problem)
        for field in ("organization_id", "workflow_id"):
            value = getattr(self, field)
            is_text = isinstance(value, str) and value != "" and value.isprintable()
            if not is_text and (field, value) != ("workflow_id", None):
                raise RegistrationRefused(
                    f"{value!r:.200} is not a valid {field}: give a text of printable characters."
                )

    def call(self, limits: HistoryLimits, *, in_cluster: bool = False) -> Call:
        """The script to run; it may be repeated. *limits* say how long the execution is kept.
        *in_cluster*: see `publish_call`."""
        names = [events_key(self.execution_id), meta_key(self.execution_id)]
        if in_cluster:
            names.append(memory_key(self.execution_id))
        return Call(
            REGISTER,
            names,
            [self.organization_id, self.workflow_id or "", *limits.ttls()],
        )

    def check(self, answer: bytes) -> None:
        """Read the answer to `call`.

        Raises:
            RegistrationRefused: the execution is registered for another organization, or as a run
                of another workflow, or was forgotten; nothing was written.
        """
        field = answer.decode()
        if field == "forgotten":
            raise RegistrationRefused(
                f"Execution {self.execution_id} was forgotten: use another id, or wait for a day."
            )
        if field in ("organization_id", "workflow_id"):
            raise RegistrationRefused(
                f"Execution {self.execution_id} is registered with another {field} already: "
                "give every execution an id of its own."
            )
