"""Who may publish by HTTP, and how much.

The right is in the token (`GATEWAY_PUBLISH_CLAIM`), so that no browser has it by accident. The
script that appends the events checks the owner of the execution.
"""

import asyncio
import math
from dataclasses import dataclass
from typing import NoReturn

from gateway.access.policy import check_execution_id, check_organization, refuse_revoked
from gateway.access.quota import RateLimiter
from gateway.access.tokens import TokenVerifier
from gateway.bus.revocations import Revocations
from gateway.errors import (
    ExecutionNotFound,
    Forbidden,
    LimitReached,
    MalformedRequest,
    PublishForbidden,
    RedisUnavailable,
)
from gateway.principal import Identity, Principal
from gateway.retry import unavailable
from gateway.settings import variable
from gateway.settings.access import AccessSettings

_MOST_AGE = 2.0
"""Seconds after which what was revoked must be asked for: within this time streams end, too."""


@dataclass(frozen=True)
class PublishPolicy:
    """Decides who may publish."""

    _verifier: TokenVerifier
    _revocations: Revocations

    async def identify(
        self, token: str, organization_id: str | None, execution_id: str
    ) -> Principal:
        """Who publishes, if their *token* carries the right to and names the organization; None
        means the only one that it names.

        Raises:
            MalformedRequest, Unauthenticated, Forbidden: the request must change first.
            PublishForbidden: it has not the right, to publish at all (code `publish_forbidden`), or
                since the execution is revoked.
            Unavailable: keys or revocations cannot be read now.
        """
        check_execution_id(execution_id)
        identity = await self._verifier.verify(token)
        if identity.publishes == frozenset():
            raise PublishForbidden(
                "The token does not have the right to publish: send a worker's token. Tokens of "
                "browsers must not have it.",
                "publish_forbidden",
            )
        organization_id = _organization(organization_id, identity)
        principal = Principal(execution_id, organization_id, identity)
        await self._check_revoked(principal)
        return principal

    def may_publish(self, principal: Principal) -> bool:
        """Whether the token may publish events of this execution, if it is its organization's."""
        publishes = principal.identity.publishes
        return publishes is None or principal.execution_id in publishes

    async def _check_revoked(self, principal: Principal) -> None:
        if self._revocations.age > _MOST_AGE:
            try:
                await self._revocations.refresh()
            except RedisUnavailable as error:
                raise unavailable(str(error)) from error
        if (kind := self._revocations.kind_of(principal)) is not None:
            try:
                refuse_revoked(kind)
            except ExecutionNotFound:
                raise PublishForbidden from None


def _organization(asked: str | None, identity: Identity) -> str:
    named = identity.organizations
    if named is None:
        # Under ownership `backend` without a claim: else any organization could be asked for.
        raise Forbidden(
            "The token names no organization, which publishing needs: let the issuer add the "
            f"claim, and name it in {variable('organization_claim')}.",
            "organization_claim_missing",
        )
    if not asked:
        if len(named) != 1:
            raise MalformedRequest(
                "The token names several organizations: name one of them in X-Organization-ID.",
                "organization_missing",
            )
        [asked] = named
    return check_organization(asked, identity)


class PublishLimits:
    """How much one subject and one organization may publish through this process; 0 is no limit."""

    def __init__(self, settings: AccessSettings) -> None:
        self.reload(settings)

    def reload(self, settings: AccessSettings) -> None:
        """Use the limits of *settings* from now on."""
        self._events = (
            RateLimiter(settings.max_published_events_per_subject),
            RateLimiter(settings.max_published_events_per_organization),
        )
        self._bytes = (
            RateLimiter(settings.max_published_bytes_per_subject),
            RateLimiter(settings.max_published_bytes_per_organization),
        )

    def take_events(self, principal: Principal, count: int) -> None:
        """Count *count* events.

        Raises:
            LimitReached: the subject, or its organization, publishes too many.
        """
        _take(self._events, principal, count, "events")

    def take_bytes(self, principal: Principal, size: int) -> None:
        """Count a body of *size* bytes; raises as `take_events`."""
        _take(self._bytes, principal, size, "bytes")


def _take(
    limiters: tuple[RateLimiter, RateLimiter], principal: Principal, cost: int, what: str
) -> None:
    of_subject, of_organization = limiters
    if not (of_subject.per_second or of_organization.per_second):
        return
    subject, organization_id = principal.identity.payer, principal.organization_id
    now = asyncio.get_running_loop().time()
    if wait := of_subject.wait(subject, now, cost):
        _refuse(f"This token's subject publishes more than {of_subject.per_second} {what}", wait)
    if wait := of_organization.wait(organization_id, now, cost):
        _refuse(f"Your organization publishes more than {of_organization.per_second} {what}", wait)
    of_subject.charge(subject, now, cost)
    of_organization.charge(organization_id, now, cost)


def _refuse(what: str, wait: float) -> NoReturn:
    refusal = LimitReached(
        f"{what} in a second, nothing was published: try again after the seconds of Retry-After.",
        "rate_limit",
    )
    refusal.retry_after = math.ceil(wait)
    raise refusal
