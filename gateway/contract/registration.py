"""Whose execution it is: the script that writes it down, and what its answer means.

The first registration of an execution wins. Nothing here talks to Redis.
"""

from dataclasses import dataclass

from gateway.contract.keys import events_key, meta_key
from gateway.contract.scripts import Call, HistoryLimits, Script
from gateway.errors import GatewayError
from gateway.events.envelope import EXECUTION_ID

REGISTER = Script("register.lua")


class RegistrationRefused(GatewayError):
    """An execution cannot be registered like this; `str(error)` says why."""


@dataclass(frozen=True, slots=True)
class Registration:
    """An execution, the organization that may watch it, and the workflow that it is a run of.

    Raises:
        RegistrationRefused: one of the ids can be none.
    """

    execution_id: str
    organization_id: str
    workflow_id: str | None = None

    def __post_init__(self) -> None:
        if not _is_text(self.execution_id) or not EXECUTION_ID.fullmatch(self.execution_id):
            raise RegistrationRefused(
                f"{self.execution_id!r:.200} is no execution id: 1 to 128 letters, digits and "
                "any of _ . : - make one."
            )
        for field, value in self._fields():
            if not _is_text(value):
                raise RegistrationRefused(
                    f"{value!r:.200} is no {field}: give a text of printable characters."
                )

    def call(self, limits: HistoryLimits) -> Call:
        """The script to run; it may be repeated as often as it takes.

        *limits* say how long the execution is kept.
        """
        return Call(
            REGISTER,
            [events_key(self.execution_id), meta_key(self.execution_id)],
            [self.organization_id, self.workflow_id or "", *limits.ttls()],
        )

    def check(self, answer: bytes) -> None:
        """Read the answer to `call`.

        Raises:
            RegistrationRefused: the execution is registered for somebody else, or as a run of
                another workflow; nothing was written.
        """
        field = answer.decode()
        if field in ("organization_id", "workflow_id"):
            raise RegistrationRefused(
                f"Execution {self.execution_id} is registered with another {field} already: "
                "give every execution an id of its own."
            )

    def _fields(self) -> list[tuple[str, str]]:
        fields = [("organization_id", self.organization_id)]
        if self.workflow_id is not None:
            fields.append(("workflow_id", self.workflow_id))
        return fields


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != "" and value.isprintable()
