"""Tickets: good once, for half a minute, for one execution, so that no token stands in a URL.

A page trades its token for one and opens its EventSource with it. A ticket holds nothing: it is
256 random bits, and Redis keeps, under their digest, whom it was given to. The stream that it opens
ends when the token would have, and is revoked with it.
"""

import hashlib
import math
import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import orjson
from redis.asyncio import Redis

from gateway.bus.errors import describe_redis_error, redis_errors
from gateway.contract.keys import ticket_key
from gateway.dataloader import DataLoader
from gateway.errors import RedisUnavailable, Unauthenticated
from gateway.principal import Identity, Principal
from gateway.retry import unavailable

_AT_ONCE = 256
"""Tickets taken out in one round trip."""


class TicketStore:
    """Records by the digest of their ticket: whoever reads Redis cannot use what stands there."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        # Anybody can invent tickets, and each must be looked for: together they cost little. The
        # number keeps two who show the same ticket from being given one answer.
        self._spending: DataLoader[tuple[str, int], bytes | None] = DataLoader(
            self._spend_all, _AT_ONCE
        )
        self._numbers = count()

    async def put(self, digest: str, record: bytes, seconds: int) -> None:
        """Keep *record* for *seconds*.

        Raises:
            RedisUnavailable: Redis could not be asked.
        """
        with redis_errors():
            await self._redis.set(ticket_key(digest), record, ex=seconds)

    async def spend(self, digest: str) -> bytes | None:
        """Take the record out, in one step; None if it is not there (any more).

        Raises:
            RedisUnavailable: Redis could not be asked; the record may be gone all the same.
        """
        return await self._spending.ask((digest, next(self._numbers)))

    async def stop(self) -> None:
        """Give up what is under way."""
        await self._spending.stop()

    async def _spend_all(
        self, asked: Sequence[tuple[str, int]]
    ) -> dict[tuple[str, int], bytes | RedisUnavailable | None]:
        with redis_errors():
            async with self._redis.pipeline(transaction=False) as pipeline:
                for digest, _ in asked:
                    pipeline.getdel(ticket_key(digest))
                records = await pipeline.execute(raise_on_error=False)
        return {
            one: RedisUnavailable(describe_redis_error(record))
            if isinstance(record, Exception)
            else record
            for one, record in zip(asked, records, strict=True)
        }


TICKET_SECONDS = 30
_RANDOM_BYTES = 32
_TICKET = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Ticket:
    """A fresh ticket; `expires_in` in seconds."""

    text: str = field(repr=False)
    expires_in: int


class Tickets:
    """Gives tickets out and redeems them."""

    def __init__(self, store: TicketStore, clock: Callable[[], float] = time.time) -> None:
        """*clock*: seconds since the epoch, in which tokens expire."""
        self._store = store
        self._clock = clock

    async def issue(self, principal: Principal) -> Ticket:
        """A ticket for *viewer*, who was admitted. It does not outlive the token, but for a second.

        Raises:
            Unavailable: Redis could not be asked.
        """
        text = secrets.token_urlsafe(_RANDOM_BYTES)
        left = int(principal.identity.expires_at - self._clock())
        seconds = max(1, min(TICKET_SECONDS, left))
        try:
            await self._store.put(_digest(text), write(principal), seconds)
        except RedisUnavailable as error:
            raise unavailable(str(error)) from error
        return Ticket(text, seconds)

    async def spend(self, text: str, execution_id: str) -> Principal:
        """Whom the ticket *text* was given to; it is spent thereby.

        Raises:
            Unauthenticated: it is spent, unknown, too old, or was given for another execution.
                Nobody is told which.
            Unavailable: Redis could not be asked.
        """
        if not _TICKET.fullmatch(text):
            raise _invalid()
        try:
            record = await self._store.spend(_digest(text))
        except RedisUnavailable as error:
            raise unavailable(str(error)) from error
        principal = read(record) if record is not None else None
        if principal is None or principal.execution_id != execution_id:
            raise _invalid()
        return principal


def write(principal: Principal) -> bytes:
    """What Redis keeps of *viewer*: all that a token says, but not the token, and nothing about
    other organizations and executions. So it is hardly larger than the token's `sub` and `jti`."""
    identity = principal.identity
    return orjson.dumps(
        {
            "execution_id": principal.execution_id,
            "organization_id": principal.organization_id,
            "subject": identity.subject,
            "token_id": identity.token_id,
            "expires_at": identity.expires_at,
            "executions": None if identity.executions is None else sorted(identity.executions),
            "payer": identity.payer,
        }
    )


def read(record: bytes) -> Principal | None:
    """The viewer of a record; None if it is none of ours."""
    try:
        given: Any = orjson.loads(record)
        executions = given["executions"]
        principal = Principal(
            _text(given["execution_id"]),
            _text(given["organization_id"]),
            Identity(
                subject=_text(given["subject"]),
                organizations=frozenset({_text(given["organization_id"])}),
                expires_at=_moment(given["expires_at"]),
                token_id=_text(given["token_id"]),
                executions=None if executions is None else frozenset(map(_text, executions)),
                # A gateway of an earlier release wrote none.
                payer=_text(given.get("payer", given["subject"])),
            ),
        )
    except (ValueError, TypeError, KeyError, OverflowError):
        return None
    return principal


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _moment(value: object) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError
    return float(value)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _invalid() -> Unauthenticated:
    return Unauthenticated(
        "The ticket is not valid (any more): get a new one. Each is good once, within "
        f"{TICKET_SECONDS} seconds, for the execution that it was given for.",
        "ticket_invalid",
    )
