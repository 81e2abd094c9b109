"""Revocations: who loses access before their token expires.

They are kept in Redis. Each gateway has a copy of all, and asks every second and before each new
stream whether the copy is current. So one round trip finds what was revoked anywhere, and an open
stream ends within two seconds. While Redis is away, the known revocations stay in force.

Times are seconds since the epoch by the clocks of the machine that revokes and of each gateway;
the clock of Redis is not used.
"""

import asyncio
import logging
import math
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, get_args

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from gateway.bus.cluster import Cluster
from gateway.bus.errors import describe_redis_error, is_loss, redis_errors
from gateway.bus.questions import Question, Questions
from gateway.bus.trips import Trips
from gateway.dataloader import DataLoader
from gateway.errors import RedisUnavailable
from gateway.fanout.hub import Hub
from gateway.fanout.stream import Stream
from gateway.log import RateLimitedLog
from gateway.principal import Principal
from gateway.ticker import Ticker, in_parts

log = logging.getLogger(__name__)

Kind = Literal["subject", "token-id", "organization", "execution"]
"""What a revocation is about: the claims `sub` and `jti`, the organization, the execution."""

KINDS: tuple[Kind, ...] = get_args(Kind)

# `!` is in no execution id, so no key of an execution can be one of these.
MEMBERS_KEY = "sse:{!revocations}:members"
VERSION_KEY = "sse:{!revocations}:version"

COPY_SECONDS = 10.0
"""How long the copy is enough while the node of a cluster that has the revocations is away."""

_CLUSTER_WAIT = 0.5
"""Seconds that a stream which opens waits for that node."""

_LOG_INTERVAL = 10.0
_MEMBERS_AT_ONCE = 1000
"""Members read in one round trip."""

InForce = Mapping[Kind, Mapping[str, float]]
"""By kind and value, the second at which each revocation ends."""


def member(kind: Kind, value: str) -> str:
    """A revocation's member of the set."""
    return f"{kind}:{value}"


def parse_member(text: str) -> tuple[Kind, str] | None:
    """The kind and value of a member; None for a kind of a later release."""
    name, _, value = text.partition(":")
    return next(((kind, value) for kind in KINDS if kind == name and value), None)


class Revocations:
    """This gateway's copy of the revocations; `watch` keeps it current."""

    def __init__(self, redis: Redis, trips: Trips | None = None) -> None:
        """*trips*: in which the version is asked for; else its own."""
        self._redis = redis
        self._is_cluster = isinstance(redis, Cluster)
        self._trips = trips or Trips(redis)
        self._known: InForce = {kind: {} for kind in KINDS}
        self._version: bytes | None = None
        self._applied: bytes | None = None
        """The version for which the streams that it revokes were closed."""
        self._reads: DataLoader[bytes, None] = DataLoader(self._read, max_batch=1)
        self._current_at = time.monotonic()
        self.on_applied: Callable[[], None] = lambda: None
        """Called when streams were closed that are revoked by now."""
        self._log = RateLimitedLog(_LOG_INTERVAL)

    @property
    def age(self) -> float:
        """Seconds since all that was revoked was last in force here."""
        return time.monotonic() - self._current_at

    def kind_of(self, principal: Principal) -> Kind | None:
        """The kind of the known revocation that *principal* is under now; costs no I/O."""
        if not any(self._known.values()):
            return None
        values: Mapping[Kind, str] = {
            "subject": principal.identity.subject,
            "token-id": principal.identity.token_id,
            "organization": principal.organization_id,
            "execution": principal.execution_id,
        }
        now = time.time()
        return next(
            (kind for kind in KINDS if self._known[kind].get(values[kind], now) > now), None
        )

    def revokes_execution(self, execution_id: str) -> bool:
        """Whether this execution is known to be revoked; costs no I/O."""
        end = self._known["execution"].get(execution_id)
        return end is not None and end > time.time()

    def begin(self) -> "asyncio.Future[Any]":
        """Ask for the version with the next trip, for `refresh`."""
        return self._trips.ask(("GET", VERSION_KEY))

    async def refresh(self, begun: "asyncio.Future[Any] | None" = None) -> None:
        """Learn of all that was revoked before this call, or before the `begin` that gave *begun*.

        A version that differs has all of them read: once for all who have found the same one.

        While the node of a cluster that has them is away, the copy is enough for `COPY_SECONDS`.

        Raises:
            RedisUnavailable: Redis could not be asked.
        """
        asked = begun or self.begin()
        # Their node alone may be away: executions of the others open, by the copy.
        if not self._is_cluster or not await self._is_away(asked) or self.age > COPY_SECONDS:
            await self._learn(asked)

    async def _is_away(self, asked: "asyncio.Future[Any]") -> bool:
        await asyncio.wait([asked], timeout=_CLUSTER_WAIT)
        return not asked.done() or (not asked.cancelled() and is_loss(asked.exception()))

    async def _learn(self, asked: "asyncio.Future[Any]") -> None:
        with redis_errors():
            version: bytes | None = await asked
        # No version: nothing was ever revoked, or Redis was emptied. What is known holds until its
        # own end.
        if version is not None and version != self._version:
            await self._reads.ask(version)

    def watch(self, hub: Hub, ticker: Ticker, questions: Questions) -> None:
        """Keep the copy current from now on, and close the streams of *hub* that are revoked."""

        def answered(version: object) -> None:
            if isinstance(version, Exception):
                self._warn(describe_redis_error(version))
            elif version is not None and version != self._applied:
                # A request's refresh may have found it before.
                ticker.start("closing of revoked streams", partial(self._apply, hub))
            else:
                self._current_at = time.monotonic()

        questions.add("revocations", lambda: [Question(("GET", VERSION_KEY), answered)])

    async def _apply(self, hub: Hub) -> None:
        try:
            await self._learn(self.begin())
        except RedisUnavailable as error:
            self._warn(str(error))
            return
        version = self._version
        await in_parts(hub, self._close_if_revoked)
        self._applied = version
        self.on_applied()
        self._current_at = time.monotonic()

    def _close_if_revoked(self, stream: Stream) -> None:
        stream.close_if(lambda principal: self.kind_of(principal) is not None)

    def _warn(self, problem: str) -> None:
        self._log.warning(
            log,
            "Revocations cannot be read: %s Known ones stay in force, later ones are not in force "
            "yet.",
            problem,
        )

    async def stop(self) -> None:
        """Cancel the reads under way."""
        await self._reads.stop()

    async def _read(self, versions: Sequence[bytes]) -> dict[bytes, None]:
        """Read all, once *versions* has the last one known: what is written meanwhile is read the
        next time."""
        with redis_errors():
            self._known = await read_revocations(self._redis)
        [self._version] = versions
        return {self._version: None}


async def read_revocations(redis: Redis) -> InForce:
    """All revocations in Redis, some of which may be over.

    Raises what redis-py does; see `gateway.bus.errors`.
    """
    found: dict[Kind, dict[str, float]] = {kind: {} for kind in KINDS}
    # A scan returns all that is there from its first page to its last; by rank, a member that is
    # trimmed meanwhile would hide another one.
    async for name, end in redis.zscan_iter(MEMBERS_KEY, count=_MEMBERS_AT_ONCE):
        if (parsed := parse_member(name.decode(errors="replace"))) is not None:
            kind, value = parsed
            found[kind][value] = float(end)
    return found


async def revoke(redis: Redis, kind: Kind, value: str, seconds: float) -> float:
    """Revoke *value* for *seconds* from now, in place of an earlier revocation of it.

    Returns the end, in seconds since the epoch. Raises what redis-py does.
    """
    end = time.time() + seconds
    await _set_end(redis, member(kind, value), end)
    return end


async def restore(redis: Redis, kind: Kind, value: str) -> bool:
    """Undo a revocation; False if there was none in force. Raises what redis-py does."""
    name = member(kind, value)
    end = await redis.zscore(MEMBERS_KEY, name)
    # Written in any case: a Redis that has lost its data knows less than its gateways.
    await _set_end(redis, name, 0.0)
    return end is not None and float(end) > time.time()


async def _set_end(redis: Redis, name: str, end: float) -> None:
    """Set the *end* of the member *name*; trim what is over, and with the last member the set."""

    async def queue(pipeline: Pipeline) -> None:
        last: Any = await pipeline.zrange(MEMBERS_KEY, -1, -1, withscores=True)
        latest = max([end, *(float(other) for _, other in last)])
        pipeline.multi()
        pipeline.zadd(MEMBERS_KEY, {name: end})
        pipeline.zremrangebyscore(MEMBERS_KEY, "-inf", time.time())
        # EXPIREAT has GT only from Redis 7 on; 6.2 is supported.
        pipeline.expireat(MEMBERS_KEY, math.ceil(latest) + 1)
        pipeline.set(VERSION_KEY, secrets.token_hex(16))

    # Watched: of two that revoke at once, each might miss the other's later end.
    await redis.transaction(queue, MEMBERS_KEY)
