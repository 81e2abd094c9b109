"""Tickets: a page trades its token for one, so that the URL of its EventSource holds no token.

A ticket is 256 random bits, valid once, for half a minute, for one execution, one set of them, or
the list of an organization. Redis keeps what the token proved, under a digest of the ticket: who
can read Redis cannot use it. The stream that the ticket opens ends when the token would have
expired, and is revoked with the token.
"""

import hashlib
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from gateway.bus.errors import REDIS_ERRORS, describe_redis_error
from gateway.bus.trips import Trips
from gateway.contract.keys import ticket_key
from gateway.errors import Unauthenticated
from gateway.principal import Identity, Principal
from gateway.retry import unavailable

TICKET_SECONDS = 30
_RANDOM_BYTES = 32
_TICKET = re.compile(r"[A-Za-z0-9_-]{43}")

TicketKind = Literal["execution", "set", "list"]


@dataclass(frozen=True, slots=True)
class Scope:
    """What a ticket is for, beside its principal's organization and, of kind `execution`, its
    principal's execution."""

    kind: TicketKind = "execution"
    execution_ids: tuple[str, ...] = ()
    """Of a set: those that the principal may see."""
    absent: tuple[str, ...] = ()
    """Of a set: those that it asked for and may not see."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """A new ticket; `expires_in` in seconds."""

    text: str = field(repr=False)
    expires_in: int


class Tickets:
    """Issues tickets, each to be used once."""

    def __init__(self, trips: Trips) -> None:
        self._trips = trips

    async def issue(self, principal: Principal, scope: Scope | None = None) -> Ticket:
        """A ticket for *principal*, who was admitted, and its execution unless *scope* says
        otherwise. It does not outlive the token by more than a second.

        Raises:
            Unavailable: Redis could not be asked.
        """
        text = secrets.token_urlsafe(_RANDOM_BYTES)
        left = int(principal.identity.expires_at - time.time())
        seconds = max(1, min(TICKET_SECONDS, left))
        with _redis_or_unavailable():
            await self._trips.change(
                ("SET", ticket_key(_digest(text)), to_record(principal, scope), "EX", seconds)
            )
        return Ticket(text, seconds)

    async def use(
        self, text: str, kind: TicketKind, execution_id: str = ""
    ) -> tuple[Principal, Scope]:
        """The principal that the ticket *text* was issued to, and what for; the ticket is used up.

        Raises:
            Unauthenticated: it is used up, unknown, too old, or for something else; the message
                does not say which.
            Unavailable: Redis could not be asked; the ticket may be used up all the same.
        """
        record = None
        if _TICKET.fullmatch(text):
            with _redis_or_unavailable():
                # Anyone can invent tickets: together the look-ups cost little.
                record = await self._trips.change(("GETDEL", ticket_key(_digest(text))))
        found = from_record(record) if record is not None else None
        if found is None or (found[1].kind, found[0].execution_id) != (kind, execution_id):
            raise Unauthenticated(
                "The ticket is not valid, or no longer valid: get a new one. A ticket is valid "
                f"once, for {TICKET_SECONDS} seconds, for what it was issued for.",
                "ticket_invalid",
            )
        return found


@contextmanager
def _redis_or_unavailable() -> Iterator[None]:
    try:
        yield
    except REDIS_ERRORS as error:
        raise unavailable(describe_redis_error(error)) from error


class _Record(BaseModel):
    """What Redis keeps: what the token proved, without other organizations and executions. So it is
    hardly larger than the token's `sub` and `jti`, and the token itself is not in it."""

    # Deferred to the first ticket: a start does not wait for the validator.
    model_config = ConfigDict(strict=True, allow_inf_nan=False, defer_build=True)

    execution_id: str
    """Empty for a set and a list: so a gateway of an earlier release refuses those."""
    organization_id: str
    subject: str
    token_id: str
    expires_at: float
    executions: frozenset[str] | None
    payer: str
    kind: TicketKind = "execution"
    execution_ids: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


def to_record(principal: Principal, scope: Scope | None = None) -> bytes:
    """The record of *principal* and *scope*."""
    identity, scope = principal.identity, scope or Scope()
    record = _Record(
        execution_id=principal.execution_id,
        organization_id=principal.organization_id,
        subject=identity.subject,
        token_id=identity.token_id,
        expires_at=identity.expires_at,
        executions=identity.executions,
        payer=identity.payer,
        kind=scope.kind,
        execution_ids=scope.execution_ids,
        absent=scope.absent,
    )
    return record.model_dump_json(exclude_defaults=True).encode()


def from_record(text: bytes) -> tuple[Principal, Scope] | None:
    """The principal and scope of a record; None if the gateway did not write it."""
    try:
        record = _Record.model_validate_json(text)
    except ValidationError:
        return None
    identity = Identity(
        subject=record.subject,
        organizations=frozenset({record.organization_id}),
        expires_at=record.expires_at,
        token_id=record.token_id,
        executions=record.executions,
        payer=record.payer,
    )
    principal = Principal(record.execution_id, record.organization_id, identity)
    return principal, Scope(record.kind, record.execution_ids, record.absent)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
