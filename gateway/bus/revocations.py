"""Who was shut out before their token expires: read from Redis, and known here for every request.

Each gateway keeps a copy of all revocations and asks twice a second, and before each new stream,
whether it is still the newest. So one round trip finds what was revoked anywhere, and a stream
that is open ends within a second. While Redis is away what is known stays in force.

It does not word a refusal: see `gateway.access.policy`. Times are seconds since the epoch by
the wall clocks of whoever revokes and of each gateway; Redis' own clock decides nothing.
"""

import asyncio
import logging
import math
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from gateway.bus.errors import REDIS_ERRORS, describe_redis_error
from gateway.dataloader import DataLoader
from gateway.errors import RedisUnavailable
from gateway.events.sse_encoder import CloseReason, jittered_retry_ms
from gateway.fanout.hub import Hub
from gateway.log import RateLimitedLog
from gateway.principal import Principal

Kind = Literal["subject", "token-id", "organization", "execution"]
"""What a revocation hits: the claims `sub` and `jti`, the organization asked for, the execution."""

KINDS: tuple[Kind, ...] = get_args(Kind)

MEMBERS_KEY = "sse:{!revocations}:members"
"""`!` can stand in no execution id, so no execution's keys are ever mistaken for these."""

VERSION_KEY = "sse:{!revocations}:version"


def member(kind: Kind, value: str) -> str:
    """How a revocation stands in the set."""
    return f"{kind}:{value}"


def parse_member(text: str) -> tuple[Kind, str] | None:
    """The kind and value of a member; None for one that a later version may have written."""
    name, _, value = text.partition(":")
    for kind in KINDS:
        if kind == name and value:
            return kind, value
    return None


log = logging.getLogger(__name__)

INTERVAL = 0.5
"""Seconds between two looks for something new."""

_LOG_INTERVAL = 10.0
_PAGE = 1000
"""Members asked for in one round trip."""

_AT_ONCE = 1000
"""Streams looked at before others get their turn."""

InForce = Mapping[Kind, Mapping[str, float]]
"""By kind and value, the second at which each revocation ends."""


class Revocations:
    """This gateway's copy of the revocations; `run` is its one task."""

    def __init__(self, redis: Redis, clock: Callable[[], float] = time.time) -> None:
        self._redis = redis
        self._clock = clock
        self._known: InForce = {kind: {} for kind in KINDS}
        self._version: object = None
        self._reads: DataLoader[None, None] = DataLoader(self._read, at_once=1)
        self._problem_log = RateLimitedLog(_LOG_INTERVAL)

    def kind_of(self, principal: Principal) -> Kind | None:
        """Which revocation hits *viewer* now, as far as is known; costs no I/O."""
        facts: tuple[tuple[Kind, str], ...] = (
            ("subject", principal.identity.subject),
            ("token-id", principal.identity.token_id),
            ("organization", principal.organization_id),
            ("execution", principal.execution_id),
        )
        for kind, value in facts:
            if (end := self._known[kind].get(value)) is not None and end > self._clock():
                return kind
        return None

    async def refresh(self) -> None:
        """Learn of all that was revoked before this call.

        All who ask while a read is under way share the next one: the one under way may have passed
        what they ask for already.

        Raises:
            RedisUnavailable: Redis could not be asked.
        """
        await self._reads.ask(None)

    async def run(self, hub: Hub) -> None:
        """Keep the copy up to date and close the streams of *hub* that are hit, for ever."""
        walked = self._version
        while True:
            try:
                await self.refresh()
            except RedisUnavailable as error:
                self._complain(error)
            # Not what this refresh has found: a request's may have found it before.
            if (version := self._version) != walked:
                await self._close(hub)
                walked = version
            await asyncio.sleep(INTERVAL)

    async def stop(self) -> None:
        """Give up the reads under way."""
        await self._reads.stop()

    async def _read(self, _asked: Sequence[None]) -> dict[None, None]:
        try:
            version = await self._redis.get(VERSION_KEY)
            # Where none is, Redis was emptied, and what is known holds until its own end. That is
            # also the beginning, before anything was ever revoked.
            if version is not None and version != self._version:
                # After the version: what is written in between is read again the next time.
                self._known = await read_revocations(self._redis)
                self._version = version
        except REDIS_ERRORS as error:
            raise RedisUnavailable(describe_redis_error(error)) from error
        return {None: None}

    async def _close(self, hub: Hub) -> None:
        now = asyncio.get_running_loop().time
        for number, subscriber in enumerate(hub, start=1):
            if self.kind_of(subscriber.principal) is not None and not subscriber.left:
                subscriber.close(CloseReason.REVOKED, jittered_retry_ms(), now())
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)

    def _complain(self, error: RedisUnavailable) -> None:
        held_back = self._problem_log.due()
        if held_back is not None:
            log.warning(
                "Revocations cannot be read: %s Those known stay in force, later ones do not hold "
                "yet. (%d more tries failed since the last line.)",
                error,
                held_back,
            )


async def read_revocations(redis: Redis) -> InForce:
    """All revocations that Redis holds, some of which may be over.

    Raises what redis-py does; see `gateway.bus.errors`.
    """
    found: dict[Kind, dict[str, float]] = {kind: {} for kind in KINDS}
    # A scan gives all that is there from its first page to its last; by rank, a member that is
    # trimmed meanwhile would move another one out of sight.
    async for name, end in redis.zscan_iter(MEMBERS_KEY, count=_PAGE):
        if (parsed := parse_member(name.decode(errors="replace"))) is not None:
            kind, value = parsed
            found[kind][value] = float(end)
    return found


async def revoke(redis: Redis, kind: Kind, value: str, seconds: float) -> float:
    """Shut *value* out for *seconds* from now, in place of what was said of it before.

    Returns the end, in seconds since the epoch. Raises what redis-py does.
    """
    end = time.time() + seconds
    await _change(redis, {member(kind, value): end})
    return end


async def restore(redis: Redis, kind: Kind, value: str) -> bool:
    """Undo a revocation; False if there was none in force. Raises what redis-py does."""
    end = await redis.zscore(MEMBERS_KEY, member(kind, value))
    # A change all the same: a Redis that has lost its memory knows less than its gateways.
    await _change(redis, {member(kind, value): 0.0})
    return end is not None and float(end) > time.time()


async def _change(redis: Redis, ends: Mapping[str, float]) -> None:
    """Set the *ends* of members; those that are over are trimmed, and with the last one the set."""

    async def queue(pipeline: Pipeline) -> None:
        now = time.time()
        last: Any = await pipeline.zrange(MEMBERS_KEY, -1, -1, withscores=True)
        latest = max([*ends.values(), *(float(end) for _, end in last)])
        pipeline.multi()
        pipeline.zadd(MEMBERS_KEY, dict(ends))
        pipeline.zremrangebyscore(MEMBERS_KEY, "-inf", now)
        # EXPIREAT could compare for itself (GT) from Redis 7 on; 6.2 is promised.
        pipeline.expireat(MEMBERS_KEY, math.ceil(latest) + 1)
        pipeline.set(VERSION_KEY, secrets.token_hex(16))

    # Watched, or two who revoke at once might each take the other's end for the latest.
    await redis.transaction(queue, MEMBERS_KEY)
