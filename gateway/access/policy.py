"""The access checks of streams, polls and tickets: who asks, and may they see the execution.

A request is first *identified*: its token or ticket is valid and covers the organization asked for.
Then it is *admitted*: nothing is revoked, and the execution belongs to this organization. The
request may have to wait for its registration.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import NoReturn

from gateway.access.ownership import Ownership
from gateway.access.tickets import Scope, TicketKind, Tickets
from gateway.access.tokens import TokenVerifier
from gateway.bus.revocations import Kind, Revocations
from gateway.errors import ExecutionNotFound, Forbidden, MalformedRequest, Unauthenticated
from gateway.events.envelope import EXECUTION_ID
from gateway.principal import Identity, Principal
from gateway.retry import poll_until

MAX_ORGANIZATION = 256
"""Characters that an organization's name may have."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request brought along, unverified."""

    token: str | None = field(repr=False)
    organization_id: str | None
    ticket: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class SetRequest:
    """One request to see several executions of one organization."""

    whole: Principal
    """Who asks."""
    execution_ids: tuple[str, ...]
    absent: tuple[str, ...] = ()
    """Those that a ticket's holder was not admitted to when it was issued."""

    @property
    def parts(self) -> list[Principal]:
        """The same request for each execution alone."""
        return [
            replace(
                self.whole,
                execution_id=one,
                identity=self.whole.identity.narrowed(self.whole.organization_id, one),
            )
            for one in self.execution_ids
        ]


@dataclass(frozen=True)
class Policy:
    """Decides who may see what."""

    _verifier: TokenVerifier
    _tickets: Tickets
    _revocations: Revocations
    _ownership: Ownership
    _wait: float
    """Seconds that a request waits while Redis is away."""
    keeps_token: bool
    """The ownership needs the token; else it does not stay in memory with the stream."""

    async def identify(self, execution_id: str, credentials: Credentials) -> Principal:
        """Who asks for an execution, if the organization asked for is theirs. A ticket is used up.

        Raises:
            MalformedRequest, Unauthenticated, Forbidden: the request must change first.
            Unavailable: the keys, or the ticket, cannot be read now.
        """
        check_execution_id(execution_id)
        if credentials.ticket is not None:
            return (await self._holder(credentials.ticket, credentials, "execution", execution_id))[
                0
            ]
        return await self._bearer(credentials, execution_id)

    async def identify_set(
        self, execution_ids: Collection[str], credentials: Credentials
    ) -> SetRequest:
        """Who asks for these executions, all of the organization asked for, or for those of a
        ticket.

        Raises:
            As `identify`.
        """
        for execution_id in execution_ids:
            check_execution_id(execution_id)
        if credentials.ticket is None:
            if not execution_ids:
                raise MalformedRequest(
                    "No execution: name each by execution_id, or send a ticket of a set.",
                    "execution_id_missing",
                )
            whole = await self._bearer(credentials, *execution_ids)
            return SetRequest(replace(whole, execution_id=""), tuple(execution_ids))
        if execution_ids:
            raise MalformedRequest("The ticket names the executions: leave execution_id out.")
        whole, scope = await self._holder(credentials.ticket, credentials, "set")
        return SetRequest(whole, scope.execution_ids, scope.absent)

    async def identify_list(self, organization_id: str, credentials: Credentials) -> Principal:
        """Who asks for the list of *organization_id*, which the credentials may leave out.

        Raises:
            As `identify`.
        """
        if credentials.organization_id not in (None, organization_id):
            raise MalformedRequest(
                "The request names two organizations: send only the one in the path.",
                "organization_differs",
            )
        credentials = replace(credentials, organization_id=organization_id)
        if credentials.ticket is not None:
            return (await self._holder(credentials.ticket, credentials, "list"))[0]
        return await self._bearer(credentials)

    async def _holder(
        self, ticket: str, credentials: Credentials, kind: TicketKind, execution_id: str = ""
    ) -> tuple[Principal, Scope]:
        """Whom *ticket* was issued to."""
        principal, scope = await self._tickets.use(ticket, kind, execution_id)
        if credentials.organization_id not in (None, principal.organization_id):
            raise Forbidden(
                "The ticket is for another organization: leave the organization out, or get "
                "a ticket for this one."
            )
        return principal, scope

    async def _bearer(self, credentials: Credentials, *execution_ids: str) -> Principal:
        """Who has the token of *credentials*, as the viewer of these executions."""
        if not credentials.token:
            raise Unauthenticated(
                "No token: send it as `Authorization: Bearer <token>`, or in the query.",
                "token_missing",
            )
        identity = await self._verifier.verify(credentials.token)
        organization_id = check_organization(credentials.organization_id, identity)
        token = credentials.token if self.keeps_token else None
        identity = identity.narrowed(organization_id, *execution_ids)
        execution_id = execution_ids[0] if len(execution_ids) == 1 else ""
        return Principal(execution_id, organization_id, identity, token)

    async def admit(
        self,
        principal: Principal,
        *,
        again: bool = False,
        read_ahead: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Wait until *principal* may see the execution. *again*: see `Ownership.admit`.

        *read_ahead* is called as soon as a first page may be asked for, to go in the same trip as
        the last question: with the organization that must own it, empty where that is settled.

        Raises:
            ExecutionNotFound: it is not this organization's, or there is none, or it was revoked.
            Unauthenticated, Forbidden: the token, its subject or organization was revoked.
            Unavailable: the question could not be answered in time.
        """
        if self._ownership.learns_revocations:
            read_ahead(principal.organization_id)
            await self._ownership.admit(principal, again=again)
        else:
            await self._ownership.admit(principal, again=again)
            read_ahead("")
            await self._refresh()
        self._refuse_revoked(principal)

    async def admit_organization(self, principal: Principal) -> None:
        """Return if *principal*, who asked for the list of an organization, is not revoked.

        Raises:
            Unauthenticated, Forbidden: the token, its subject or organization was revoked.
            Unavailable: the question could not be answered in time.
        """
        await self._refresh()
        self._refuse_revoked(principal)

    def _refuse_revoked(self, principal: Principal) -> None:
        if (kind := self._revocations.kind_of(principal)) is not None:
            refuse_revoked(kind)

    async def _refresh(self) -> None:
        async def refresh() -> bool:
            await self._revocations.refresh()
            return True

        # Last, so that a revocation which came during the wait for the execution counts too.
        await poll_until(refresh, self._wait, "Redis")


def check_execution_id(execution_id: str) -> None:
    """Raises MalformedRequest for what is no execution id."""
    if not EXECUTION_ID.fullmatch(execution_id):
        raise MalformedRequest(
            "The execution id is malformed: use 1 to 128 letters, digits or _ . : -",
            "malformed_execution_id",
        )


def check_organization(asked: str | None, identity: Identity) -> str:
    """The organization asked for, which the token must name.

    Raises:
        MalformedRequest: there is none, or it is no name.
        Forbidden: the token does not name it.
    """
    if not asked:
        raise MalformedRequest(
            "No organization: send X-Organization-ID, or organization_id in the query.",
            "organization_missing",
        )
    if len(asked) > MAX_ORGANIZATION or not asked.isprintable():
        raise MalformedRequest(
            f"The organization is malformed: use at most {MAX_ORGANIZATION} printable characters.",
            "malformed_organization",
        )
    if identity.organizations is not None and asked not in identity.organizations:
        raise Forbidden("The token does not cover this organization: ask with one that does.")
    return asked


def refuse_revoked(kind: Kind) -> NoReturn:
    """Refuse a principal whom a revocation of this *kind* hits.

    Raises:
        Unauthenticated: the subject's or the token's: 401 `token_revoked`.
        Forbidden: the organization's: 403 `organization_revoked`.
        ExecutionNotFound: the execution's: the same answer as for an unknown one.
    """
    match kind:
        case "subject" | "token-id":
            raise Unauthenticated("The token was revoked: log in again.", "token_revoked")
        case "organization":
            raise Forbidden(
                "This organization's access was revoked: ask the operator of the gateway.",
                "organization_revoked",
            )
        case "execution":
            raise ExecutionNotFound
