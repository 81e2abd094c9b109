"""Tickets: a page trades its token for one, so that the URL of its EventSource holds no token.

A ticket is 256 random bits, valid once, for half a minute, for one execution. Redis keeps what the
token proved, under a digest of the ticket: who can read Redis cannot use it. The stream that the
ticket opens ends when the token would have expired, and is revoked with the token.
"""

import hashlib
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

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


@dataclass(frozen=True, slots=True)
class Ticket:
    """A new ticket; `expires_in` in seconds."""

    text: str = field(repr=False)
    expires_in: int


class Tickets:
    """Issues tickets and redeems them."""

    def __init__(self, trips: Trips) -> None:
        self._trips = trips

    async def issue(self, principal: Principal) -> Ticket:
        """A ticket for *principal*, who was admitted. It does not outlive the token by more than a
        second.

        Raises:
            Unavailable: Redis could not be asked.
        """
        text = secrets.token_urlsafe(_RANDOM_BYTES)
        left = int(principal.identity.expires_at - time.time())
        seconds = max(1, min(TICKET_SECONDS, left))
        with _redis_or_unavailable():
            await self._trips.change(
                ("SET", ticket_key(_digest(text)), to_record(principal), "EX", seconds)
            )
        return Ticket(text, seconds)

    async def redeem(self, text: str, execution_id: str) -> Principal:
        """The principal that the ticket *text* was issued to; the ticket is used up.

        Raises:
            Unauthenticated: it is used up, unknown, too old, or for another execution; the message
                does not say which.
            Unavailable: Redis could not be asked; the ticket may be used up all the same.
        """
        record = None
        if _TICKET.fullmatch(text):
            with _redis_or_unavailable():
                # Anyone can invent tickets: together the look-ups cost little.
                record = await self._trips.change(("GETDEL", ticket_key(_digest(text))))
        principal = from_record(record) if record is not None else None
        if principal is None or principal.execution_id != execution_id:
            raise Unauthenticated(
                "The ticket is not valid, or not any more: get a new one. A ticket is valid once, "
                f"for {TICKET_SECONDS} seconds, for the execution that it was issued for.",
                "ticket_invalid",
            )
        return principal


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
    organization_id: str
    subject: str
    token_id: str
    expires_at: float
    executions: frozenset[str] | None
    payer: str


def to_record(principal: Principal) -> bytes:
    """The record of *principal*."""
    identity = principal.identity
    record = _Record(
        execution_id=principal.execution_id,
        organization_id=principal.organization_id,
        subject=identity.subject,
        token_id=identity.token_id,
        expires_at=identity.expires_at,
        executions=identity.executions,
        payer=identity.payer,
    )
    return record.model_dump_json().encode()


def from_record(text: bytes) -> Principal | None:
    """The principal of a record; None if the gateway did not write it."""
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
    return Principal(record.execution_id, record.organization_id, identity)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
