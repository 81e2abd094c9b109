"""Whose an execution is, by the registry or by trust in the token; by asking: `access.backend`."""

import logging
from typing import Protocol

from gateway.bus.registry import Registry
from gateway.errors import ExecutionNotFound
from gateway.principal import Principal
from gateway.retry import poll_until

log = logging.getLogger(__name__)


class Ownership(Protocol):
    """Decides whether a viewer's organization may see an execution."""

    async def admit(self, principal: Principal, *, again: bool = False) -> None:
        """Return when it may. *again*: its stream is open, and the history has begun again; what
        was answered about the former one counts for nothing.

        Raises:
            ExecutionNotFound: it may not, or there is no such execution.
            Unavailable: the question could not be answered in time.
        """


class TokenOwnership:
    """`GATEWAY_OWNERSHIP=token`: a valid token is trusted, for any execution or for those that its
    claim `executions` lists."""

    def __init__(self) -> None:
        log.warning(
            "Ownership is `token`: every valid token may watch every execution, whatever its "
            "organization, unless its claim `executions` lists some. For gateways with one "
            "customer only; GATEWAY_OWNERSHIP=registry keeps organizations apart."
        )

    async def admit(self, principal: Principal, *, again: bool = False) -> None:
        """See `Ownership.admit`; never waits."""
        executions = principal.identity.executions
        if executions is not None and principal.execution_id not in executions:
            raise ExecutionNotFound


class RegistryOwnership:
    """`GATEWAY_OWNERSHIP=registry`: the organization that the execution was registered for."""

    def __init__(self, registry: Registry, wait: float) -> None:
        """*wait*: seconds to hold a request for a registration, or for Redis."""
        self._registry = registry
        self._wait = wait

    async def admit(self, principal: Principal, *, again: bool = False) -> None:
        """See `Ownership.admit`."""

        async def ask() -> bool:
            return await self._registry.owner(principal.execution_id) == principal.organization_id

        if not await poll_until(ask, self._wait, "Redis"):
            raise ExecutionNotFound
