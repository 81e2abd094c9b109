"""One node of a cluster: its connections, and whether it answers."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis
from redis.exceptions import TimeoutError as RedisTimeoutError

from gateway.bus.errors import describe_redis_error
from gateway.bus.slots import Address

log = logging.getLogger(__name__)

_SLOW = 0.25
"""Seconds without an answer after which a node may hang."""

_MAY_ANSWER = 0.5
"""Seconds in which a node that was replaced may still answer what it was asked before."""


class Node:
    """One node of the cluster."""

    def __init__(self, address: Address, client: Redis) -> None:
        self.address = address
        self.client = client
        """On the bounded pool of this node alone."""
        self.id = ""
        """By which CLUSTER NODES names it; empty while only its address is known."""
        self.problem: Exception | None = None
        """Why it is lost; None while it answers."""
        self.is_doubtful = False
        """Somebody has not waited for its answer."""
        self._lost_at = 0.0
        self._in_flight: dict[asyncio.Timeout, float] = {}
        """What waits for it, and since when; the first is the oldest."""

    @asynccontextmanager
    async def in_flight(self) -> AsyncIterator[None]:
        """Around what waits for it, which fails as timed out soon after `replaced`."""
        try:
            async with asyncio.timeout(None) as deadline:
                self._in_flight[deadline] = time.monotonic()
                try:
                    yield
                finally:
                    del self._in_flight[deadline]
        except TimeoutError:
            raise RedisTimeoutError("It has not answered in time.") from None
        except asyncio.CancelledError:
            self.is_doubtful = True
            raise

    @property
    def is_slow(self) -> bool:
        """Whether something waits for it for so long that it may hang."""
        now = time.monotonic()
        return now - next(iter(self._in_flight.values()), now) > _SLOW

    def replaced(self) -> None:
        """Another node serves what was its own: it may hang, and nobody waits long for it."""
        until = asyncio.get_running_loop().time() + _MAY_ANSWER
        for deadline in self._in_flight:
            if deadline.when() is None:
                deadline.reschedule(until)

    def lost(self, error: Exception) -> None:
        """It could not be reached, or has not answered."""
        if self.problem is None:
            self._lost_at = time.monotonic()
            sentence = describe_redis_error(error)
            log.warning("The node %s:%d of the cluster is lost: %s", *self.address, sentence)
        self.problem = error

    def answered(self) -> None:
        """It has just answered."""
        self.is_doubtful = False
        if self.problem is not None:
            log.warning("The node %s:%d of the cluster answers again.", *self.address)
            self.problem = None

    def lost_for(self, seconds: float) -> bool:
        """Whether it has not answered for so long: then nothing waits for it any more."""
        return self.problem is not None and time.monotonic() - self._lost_at > seconds
