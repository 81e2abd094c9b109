"""Who may watch which execution, and how long a request is held before it is refused.

The page opens its stream the moment it starts the run, so a registration that is not there yet is
waited for. An unknown execution and another organization's are one 404 after the same wait: by
asking, nobody can learn what exists. It knows neither HTTP nor how tokens look in a request.
"""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol

from gateway.access.tokens import Identity, TokenVerifier
from gateway.bus.registry import Registry
from gateway.errors import (
    ExecutionNotFound,
    Forbidden,
    MalformedRequest,
    RedisUnavailable,
    Unauthenticated,
    Unavailable,
)
from gateway.events.envelope import EXECUTION_ID

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 0.5
"""Seconds between two looks at the registry: quick for the usual race, then easy on Redis."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request brought along, unverified."""

    token: str | None
    organization_id: str | None
    ticket: str | None = None


class Ownership(Protocol):
    """Decides whose execution it is."""

    async def admit(self, execution_id: str, organization_id: str) -> None:
        """Return when the organization may watch it.

        Raises:
            ExecutionNotFound: it may not, or there is no such execution.
            Unavailable: the question could not be answered in time.
        """


class Policy:
    """Everything a request must pass before it becomes a stream."""

    def __init__(self, verifier: TokenVerifier, ownership: Ownership) -> None:
        self._verifier = verifier
        self._ownership = ownership

    def identify(self, execution_id: str, credentials: Credentials) -> Identity:
        """Check all that needs no waiting.

        Raises:
            MalformedRequest, Unauthenticated, Forbidden.
        """
        if not EXECUTION_ID.fullmatch(execution_id):
            raise MalformedRequest(
                "The execution id is malformed: use 1 to 128 letters, digits or _ . : -",
                "malformed_execution_id",
            )
        if not credentials.token:
            raise Unauthenticated(
                "No token: send it as `Authorization: Bearer <token>`, or in the query.",
                "token_missing",
            )
        identity = self._verifier.verify(credentials.token)
        if not credentials.organization_id:
            raise MalformedRequest(
                "No organization: send X-Organization-ID, or organization_id in the query.",
                "organization_missing",
            )
        if credentials.organization_id not in identity.organizations:
            raise Forbidden("The token does not cover this organization: ask with one that does.")
        return identity

    async def admit(self, execution_id: str, organization_id: str) -> None:
        """Wait until the organization may watch *execution_id*; raises as `Ownership.admit`."""
        await self._ownership.admit(execution_id, organization_id)


class TokenOwnership:
    """`GATEWAY_OWNERSHIP=token`: a valid token alone is trusted, for any execution."""

    async def admit(self, execution_id: str, organization_id: str) -> None:
        """Never refuses."""


class RegistryOwnership:
    """`GATEWAY_OWNERSHIP=registry`: the organization that the execution was registered for."""

    def __init__(self, registry: Registry, wait: float) -> None:
        """*wait*: seconds to hold a request for a registration, or for Redis."""
        self._registry = registry
        self._wait = wait

    async def admit(self, execution_id: str, organization_id: str) -> None:
        """See `Ownership.admit`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._wait
        pause = _FIRST_PAUSE
        left = self._wait
        trouble: RedisUnavailable | None = None
        while left > 0:
            try:
                async with asyncio.timeout_at(deadline):
                    if await self._registry.owner(execution_id) == organization_id:
                        return
                trouble = None
            except RedisUnavailable as error:
                trouble = error
            except TimeoutError:
                trouble = trouble or RedisUnavailable("Redis does not answer in time.")
            left = deadline - loop.time()
            await asyncio.sleep(max(0.0, min(pause, left)))
            # A last look without time for its answer would pass for a Redis that is away.
            left -= pause
            pause = min(pause * 2, _LONGEST_PAUSE)
        if trouble is not None:
            raise unavailable(str(trouble))
        raise ExecutionNotFound


def unavailable(why: str) -> Unavailable:
    """The refusal for a request that was held in vain."""
    return Unavailable(f"The stream cannot be served now: {why} Try again in a few seconds.")


async def hold(ready: Awaitable[None], seconds: float, why: str) -> None:
    """Hold a request until *ready*.

    Raises:
        Unavailable: *seconds* have passed.
    """
    try:
        async with asyncio.timeout(seconds):
            await ready
    except TimeoutError:
        raise unavailable(why) from None
