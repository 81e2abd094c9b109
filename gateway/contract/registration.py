"""Whose execution it is, as the commands that write it down and what their answers mean.

The first registration of an execution wins. That takes no script: each field is set only where it
is missing, then read back, all in one round trip. Nothing here talks to Redis.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.contract.keys import meta_key
from gateway.errors import GatewayError
from gateway.events.envelope import EXECUTION_ID


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

    def commands(self, open_ttl_ms: int) -> list[tuple[str | int, ...]]:
        """What to send in one pipeline; it may be repeated as often as it takes.

        *open_ttl_ms* is how many milliseconds an execution without any news is remembered.
        """
        key = meta_key(self.execution_id)
        commands: list[tuple[str | int, ...]] = []
        for field, value in self._fields():
            commands += [("HSETNX", key, field, value), ("HGET", key, field)]
        return [*commands, ("PEXPIRE", key, open_ttl_ms)]

    def check(self, answers: Sequence[object]) -> None:
        """Read the answers to `commands`.

        Raises:
            RegistrationRefused: the execution is registered for somebody else, or as a run of
                another workflow.
        """
        for (field, value), kept in zip(self._fields(), answers[1::2], strict=True):
            if kept not in (value, value.encode()):
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
