"""Everything a request must pass before it is shown anything: one door for streams, polls, tickets.

A request is *identified* first: whose token or ticket it brings, and whether that covers the
organization asked for. It is then *admitted*: not revoked, and the execution is this
organization's, which may have to be waited for. It knows neither HTTP nor how tokens look in a
request.
"""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field

from gateway.access.ownership import Ownership
from gateway.access.revocation import refuse_revoked
from gateway.access.tickets import TicketOffice
from gateway.access.tokens import TokenVerifier
from gateway.bus.revocations import Revocations
from gateway.errors import (
    Forbidden,
    MalformedRequest,
    RedisUnavailable,
    Unauthenticated,
    Unavailable,
)
from gateway.events.envelope import EXECUTION_ID
from gateway.viewer import Viewer


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request brought along, unverified."""

    token: str | None = field(repr=False)
    organization_id: str | None
    ticket: str | None = field(default=None, repr=False)


class Policy:
    """Says who may see what."""

    def __init__(
        self,
        verifier: TokenVerifier,
        tickets: TicketOffice,
        revocations: Revocations,
        ownership: Ownership,
    ) -> None:
        self.verifier = verifier
        self._tickets = tickets
        self._revocations = revocations
        self._ownership = ownership

    async def identify(self, execution_id: str, credentials: Credentials) -> Viewer:
        """Who asks, and whether the organization asked for is theirs. Spends a ticket.

        Raises:
            MalformedRequest, Unauthenticated, Forbidden: the request must change first.
            Unavailable: the keys, or the ticket, cannot be looked at now.
        """
        if not EXECUTION_ID.fullmatch(execution_id):
            raise MalformedRequest(
                "The execution id is malformed: use 1 to 128 letters, digits or _ . : -",
                "malformed_execution_id",
            )
        if credentials.ticket is not None:
            return self._of_organization(
                await self._tickets.redeem(credentials.ticket, execution_id),
                credentials.organization_id,
            )
        if not credentials.token:
            raise Unauthenticated(
                "No token: send it as `Authorization: Bearer <token>`, or in the query.",
                "token_missing",
            )
        identity = await self.verifier.verify(credentials.token)
        if not credentials.organization_id:
            raise MalformedRequest(
                "No organization: send X-Organization-ID, or organization_id in the query.",
                "organization_missing",
            )
        if (
            identity.organizations is not None
            and credentials.organization_id not in identity.organizations
        ):
            raise Forbidden("The token does not cover this organization: ask with one that does.")
        return Viewer(execution_id, credentials.organization_id, identity, credentials.token)

    def _of_organization(self, viewer: Viewer, asked: str | None) -> Viewer:
        """A ticket names its organization; a request that names another one is refused."""
        if asked and asked != viewer.organization_id:
            raise Forbidden(
                "The ticket is for another organization: leave the organization out, or get a "
                "ticket for this one."
            )
        return viewer

    async def admit(self, viewer: Viewer) -> None:
        """Wait until *viewer* may see the execution.

        Raises:
            Unauthenticated, Forbidden: the token, its subject or organization was revoked.
            ExecutionNotFound: it is not this organization's, or there is none, or it was revoked.
            Unavailable: the question could not be answered in time.
        """
        await self._check_revocation(viewer)
        await self._ownership.admit(viewer)

    async def _check_revocation(self, viewer: Viewer) -> None: ...
