"""How many streams each organization has, over all gateway instances, kept in Redis.

All calls are made one pipeline after the other, so that no older count of this instance overwrites
a newer one, and a thousand tabs that open at once cost two round trips. The limit itself is applied
in `gateway.access.quota`.
"""

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Collection, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from redis.asyncio import Redis

from gateway.bus import scripts
from gateway.bus.cluster import Cluster
from gateway.bus.errors import REDIS_ERRORS, describe_code, describe_redis_error, is_loss
from gateway.bus.node import Node
from gateway.contract.scripts import Call, Script
from gateway.dataloader import PAUSE
from gateway.errors import RedisUnavailable
from gateway.ticker import PERIOD, Ticker

log = logging.getLogger(__name__)

_NAME = "stream counts"

STREAM_COUNTS = Script("stream_counts.lua")


def stream_counts_key(organization_id: str) -> str:
    """The hash that holds the counts of *organization_id*.

    By digest, since an organization's name is any text: its braces could choose the cluster node.
    No key of an execution begins like this.
    """
    digest = hashlib.blake2b(organization_id.encode("utf-8", "surrogatepass"), digest_size=16)
    return f"sse:census:{digest.hexdigest()}"


def stream_counts_call(
    organization_id: str, *, instance: str, streams: int, wanted: int, limit: int, lease_ms: int
) -> Call:
    """Report the open *streams* of *instance* and ask for *wanted* more; the answer is how many of
    those may open. An instance without streams is removed.
    """
    key = stream_counts_key(organization_id)
    return Call(STREAM_COUNTS, [key], [instance, streams, wanted, limit, lease_ms])


@dataclass(frozen=True, slots=True)
class StreamCountTimes:
    """Times in seconds."""

    flush: float = PERIOD
    """Until a closed stream is no longer counted, and between two attempts while Redis is away."""
    renew: float = 5.0
    """Between two renewals; also how long a Redis that lost its data counts too few."""
    lease: float = 15.0
    """Until the streams of an instance that died are no longer counted."""


@dataclass(slots=True)
class _Organization:
    """This instance's streams of one organization."""

    streams: int = 0
    waiting: dict[asyncio.Future[bool], float] = field(default_factory=dict)
    """Streams that want to open, oldest first, with the loop time until which they wait; the result
    says whether they may."""


class StreamCounts:
    """Counts the streams of this instance among those of all."""

    def __init__(
        self,
        redis: Redis,
        ticker: Ticker,
        limit: int,
        wait: float,
        times: StreamCountTimes | None = None,
    ) -> None:
        """*wait*: seconds that a stream waits to open while Redis is away."""
        self._redis = redis
        self._cluster = redis if isinstance(redis, Cluster) else None
        self.limit = limit
        """Most streams of one organization, for those that open from now on."""
        self._wait = wait
        self._times = times or StreamCountTimes()
        self._instance = secrets.token_hex(8)
        self._organizations: dict[str, _Organization] = {}
        self._changed: set[str] = set()
        self._refused: set[str] = set()
        """To be reported again at the next tick."""
        self._renewed = float("-inf")
        self._problem: str | None = None
        self._overdue: asyncio.TimerHandle | None = None
        """When the next stream may have waited for too long."""
        self._ticker = ticker
        ticker.every(self._times.flush, _NAME, self._tick)

    def __len__(self) -> int:
        """How many organizations have an entry here."""
        return len(self._organizations)

    async def enter(self, organization_id: str) -> bool:
        """Count one more stream, until `left` is called for it; False, and nothing is counted, when
        there are too many already.

        Raises:
            RedisUnavailable: Redis could not be asked in time.
        """
        organization = self._organizations.setdefault(organization_id, _Organization())
        loop = asyncio.get_running_loop()
        asked: asyncio.Future[bool] = loop.create_future()
        organization.waiting[asked] = loop.time() + self._wait
        if self._overdue is None:
            # One timer for all: nearly every answer comes at once.
            self._overdue = loop.call_later(self._wait, self._give_up)
        self._changed.add(organization_id)
        self._start()
        entered = False
        try:
            entered = await asked
        finally:
            organization.waiting.pop(asked, None)
            if not entered:
                # Cancelled just after the answer came: it was counted by then.
                if asked.done() and not (asked.cancelled() or asked.exception()) and asked.result():
                    organization.streams -= 1
                self._changed.add(organization_id)
        return entered

    def left(self, organization_id: str) -> None:
        """A stream that entered has ended."""
        organization = self._organizations.get(organization_id)
        # After `leave` nothing is counted any more.
        if organization is not None:
            organization.streams -= 1
            self._changed.add(organization_id)

    def _give_up(self) -> None:
        """End the wait of the streams whose time is over."""
        loop = asyncio.get_running_loop()
        now, self._overdue = loop.time(), None
        waiting = [one for each in self._organizations.values() for one in each.waiting.items()]
        for asked, deadline in waiting:
            if deadline <= now and not asked.done():
                problem = self._problem or describe_code("timeout")
                asked.set_exception(RedisUnavailable(problem))
        if later := [deadline for _, deadline in waiting if deadline > now]:
            self._overdue = loop.call_at(min(later), self._give_up)

    def _tick(self) -> Coroutine[Any, Any, None] | None:
        """Report the streams that ended, ask again where Redis was away, and renew the leases."""
        self._changed |= self._refused
        self._refused.clear()
        now = asyncio.get_running_loop().time()
        if now - self._renewed >= self._times.renew:
            self._renewed = now
            self._changed |= self._organizations.keys()
        if self._cluster is not None:
            self._start()
            return None
        return self._report_changes() if self._changed else None

    def _start(self) -> None:
        if self._cluster is None:
            self._ticker.start(_NAME, self._report_changes)
            return
        # None waits for a node that is not its own.
        for node in {self._place(name) for name in self._changed}:
            name = f"{_NAME} at {node.id[:8]}" if node is not None else _NAME
            self._ticker.start(name, partial(self._report_changes, node))

    def _place(self, name: str) -> Node | None:
        assert self._cluster is not None  # noqa: S101 - of a cluster alone
        return self._cluster.node_of(stream_counts_key(name))

    def _due(self, node: Node | None) -> set[str]:
        if self._cluster is None:
            return self._changed
        return {name for name in self._changed if self._place(name) is node}

    async def _report_changes(self, node: Node | None = None) -> None:
        while due := self._due(node):
            self._changed = self._changed - due
            if not await self._report(due):
                return
            if self._changed:
                # A thousand streams that open one after the other share a few round trips.
                await asyncio.sleep(PAUSE)

    async def leave(self) -> None:
        """Remove this instance from all counts; call it when the ticker has ended.

        Where Redis is away its leases run out instead.
        """
        if self._overdue is not None:
            self._overdue.cancel()
        calls = [self._call(name, 0, 0) for name in self._organizations]
        self._organizations.clear()
        try:
            if calls:
                await scripts.run_all(self._redis, calls)
        except REDIS_ERRORS as error:
            log.warning(
                "Streams that this gateway has closed count for %g s more: %s",
                self._times.lease,
                describe_redis_error(error),
            )

    async def _report(self, names: Collection[str]) -> bool:
        """Tell Redis about the organizations *names*; False if it accepted none of it."""
        reports = [
            (name, one.streams, list(one.waiting))
            for name in names
            if (one := self._organizations.get(name)) is not None
        ]
        calls = [self._call(name, streams, len(waiting)) for name, streams, waiting in reports]
        try:
            answers = await scripts.run_all(self._redis, calls)
        except REDIS_ERRORS as error:
            answers = [error] * len(calls)
        self._problem = None
        for (name, streams, waiting), granted in zip(reports, answers, strict=True):
            if isinstance(granted, int):
                self._answered(name, streams, waiting, granted)
            elif self._cluster is not None and is_loss(granted):
                # Its node alone is away: the streams open, and are counted when it is back.
                self._answered(name, streams, waiting, max(0, self.limit - streams))
                self._refused.add(name)
            else:
                self._problem = describe_redis_error(granted)
                self._refused.add(name)
        # Where some were accepted, a key of the others is foreign: no reason to wait.
        return any(isinstance(granted, int) for granted in answers)

    def _call(self, name: str, streams: int, wanted: int) -> Call:
        return stream_counts_call(
            name,
            instance=self._instance,
            streams=streams,
            wanted=wanted,
            limit=self.limit,
            lease_ms=int(self._times.lease * 1000),
        )

    def _answered(
        self, name: str, reported: int, waiting: list[asyncio.Future[bool]], granted: int
    ) -> None:
        organization = self._organizations[name]
        left = granted
        for asked in waiting:
            organization.waiting.pop(asked, None)
            if asked.done():
                # It gave up meanwhile; the next one gets its grant.
                continue
            organization.streams += left > 0
            asked.set_result(left > 0)
            left -= 1
        if organization.streams != reported + granted:
            self._changed.add(name)
        elif not organization.streams and not organization.waiting:
            del self._organizations[name]
