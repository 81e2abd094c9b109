"""How many streams each organization has, over all gateway instances, kept in Redis.

One task makes all calls, one pipeline after the other, so that no older count of this instance
ever overwrites a newer one, and a thousand tabs that open at once cost two round trips. What the
limit is for, and what a refused reader is told, is decided in `gateway.access.quota`.
"""

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field

from redis.asyncio import Redis

from gateway.bus import scripts
from gateway.bus.errors import REDIS_ERRORS, describe_redis_error
from gateway.contract.scripts import Call, Script
from gateway.dataloader import PAUSE
from gateway.errors import RedisUnavailable

STREAM_COUNTS = Script("stream_counts.lua")


def stream_counts_key(organization_id: str) -> str:
    """The hash that holds the counts of *organization_id*.

    By digest, since an organization's name is any text: as it is, its braces could choose the
    cluster node. The key of no execution begins like this.
    """
    digest = hashlib.blake2b(organization_id.encode("utf-8", "surrogatepass"), digest_size=16)
    return f"sse:census:{digest.hexdigest()}"


def stream_counts_call(
    organization_id: str, *, instance: str, held: int, wanted: int, limit: int, lease_ms: int
) -> Call:
    """Say that *instance* holds so many streams, and ask for *wanted* more; answers how many
    of those it may open. With nothing held and nothing granted its count is removed.
    """
    return Call(
        STREAM_COUNTS,
        [stream_counts_key(organization_id)],
        [instance, held, wanted, limit, lease_ms],
    )


log = logging.getLogger(__name__)

FLUSH_INTERVAL = 0.25
"""Seconds after which a stream that has left is no longer counted, and between two tries while
Redis is away."""

RENEW_INTERVAL = 5.0
"""Seconds between two renewals; also how long a Redis that lost its memory counts too few."""

LEASE = 15.0
"""Seconds after which the streams of an instance that died are no longer counted."""


@dataclass(frozen=True, slots=True)
class StreamCountTimes:
    """Seconds between two flushes and two renewals, and how long a lease is."""

    flush: float = FLUSH_INTERVAL
    renew: float = RENEW_INTERVAL
    lease: float = LEASE


@dataclass(slots=True)
class _Organization:
    """What this instance has of one organization."""

    held: int = 0
    waiting: dict[asyncio.Future[bool], None] = field(default_factory=dict)
    """Openings not answered yet, oldest first; the answer says whether they may."""


class StreamCounts:
    """Counts the streams of this instance among those of all; `run` is its one task."""

    def __init__(
        self, redis: Redis, limit: int, wait: float, times: StreamCountTimes | None = None
    ) -> None:
        """*limit*: see there; *wait*: seconds to hold an opening while Redis is away."""
        self._redis = redis
        self.limit = limit
        """Most streams of one organization, for those that open from now on."""
        self._wait = wait
        self._times = times or StreamCountTimes()
        self._instance = secrets.token_hex(8)
        self._organizations: dict[str, _Organization] = {}
        self._changed: set[str] = set()
        self._opening = asyncio.Event()
        self._problem: str | None = None

    def __len__(self) -> int:
        """How many organizations it keeps anything of."""
        return len(self._organizations)

    async def enter(self, organization_id: str) -> bool:
        """Count one more stream, until `left` is called for it; False, and nothing is counted, when
        there are too many already.

        Raises:
            RedisUnavailable: Redis could not be asked in time.
        """
        organization = self._organizations.setdefault(organization_id, _Organization())
        asked = asyncio.get_running_loop().create_future()
        organization.waiting[asked] = None
        self._changed.add(organization_id)
        self._opening.set()
        entered = False
        try:
            entered = await self._answer(asked)
        finally:
            organization.waiting.pop(asked, None)
            # The answer may have come in the same breath as a cancellation: it counts then.
            if not entered and asked.done() and not asked.cancelled() and asked.result():
                organization.held -= 1
            self._changed.add(organization_id)
        return entered

    def left(self, organization_id: str) -> None:
        """One of those that entered has left."""
        organization = self._organizations.get(organization_id)
        # After `leave` nothing is counted any more.
        if organization is not None:
            organization.held -= 1
            self._changed.add(organization_id)

    async def _answer(self, asked: asyncio.Future[bool]) -> bool:
        try:
            async with asyncio.timeout(self._wait):
                return await asked
        except TimeoutError:
            raise RedisUnavailable(self._problem or "Redis does not answer in time.") from None

    async def run(self) -> None:
        """Ask for those who wait, tell of those who left and renew the leases, for ever."""
        loop = asyncio.get_running_loop()
        renewed = loop.time()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._times.flush):
                    await self._opening.wait()
            self._opening.clear()
            due, self._changed = self._changed, set()
            if loop.time() - renewed >= self._times.renew:
                renewed = loop.time()
                due |= self._organizations.keys()
            if due and not await self._report(due):
                await asyncio.sleep(self._times.flush)
            # A thousand that open one after the other share a few trips, not a thousand.
            await asyncio.sleep(PAUSE)

    async def leave(self) -> None:
        """Take this instance out of all counts; call it when `run` has ended.

        Where Redis is away its leases run out instead.
        """
        names = list(self._organizations)
        self._organizations.clear()
        if not names:
            return
        try:
            await scripts.run_all(self._redis, [self._call(name, 0, 0) for name in names])
        except REDIS_ERRORS as error:
            log.warning(
                "Streams stay counted for %g s: %s", self._times.lease, describe_redis_error(error)
            )

    async def _report(self, names: Collection[str]) -> bool:
        """Tell Redis about the organizations *names*; False if it took nothing of it."""
        asked = [(name, one.held, list(one.waiting)) for name, one in self._of(names)]
        calls = [self._call(name, held, len(waiting)) for name, held, waiting in asked]
        try:
            answers = await scripts.run_all(self._redis, calls)
        except REDIS_ERRORS as error:
            answers = [error] * len(calls)
        refusal: BaseException | None = None
        for (name, held, waiting), granted in zip(asked, answers, strict=True):
            if isinstance(granted, int):
                self._answered(name, held, waiting, granted)
            else:
                refusal = granted
                self._changed.add(name)
        self._problem = describe_redis_error(refusal) if refusal is not None else None
        # Where it took the others, the key of one is somebody else's: the others do not wait.
        return any(isinstance(granted, int) for granted in answers)

    def _of(self, names: Collection[str]) -> list[tuple[str, _Organization]]:
        return [(name, self._organizations[name]) for name in names if name in self._organizations]

    def _call(self, name: str, held: int, wanted: int) -> Call:
        return stream_counts_call(
            name,
            instance=self._instance,
            held=held,
            wanted=wanted,
            limit=self.limit,
            lease_ms=int(self._times.lease * 1000),
        )

    def _answered(
        self, name: str, held: int, waiting: list[asyncio.Future[bool]], granted: int
    ) -> None:
        organization = self._organizations[name]
        left = granted
        for asked in waiting:
            organization.waiting.pop(asked, None)
            if asked.done():
                # Gave up meanwhile; what it was granted is the next one's.
                continue
            organization.held += left > 0
            asked.set_result(left > 0)
            left -= 1
        if organization.held != held + granted:
            self._changed.add(name)
        elif not organization.held and not organization.waiting:
            del self._organizations[name]
