"""The one pattern subscription: a single Redis connection, however many streams are open.

It reads into a bounded inbox, ahead of whoever delivers, since Redis drops a subscriber that lags.
It reconnects by itself, for as long as it takes, and knows nothing of events: see
`gateway.bus.feed`.

It drives one redis-py `Connection` instead of its `PubSub`, which resubscribes silently after a
lost connection: whoever reads on does not learn that messages are missing. Here every connection
is one subscription with a beginning and an end.
"""

import asyncio
import logging
import math
import secrets
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from gateway.bus.errors import REDIS_ERRORS, describe_redis_error
from gateway.contract.keys import channel_pattern
from gateway.metrics import Metrics

log = logging.getLogger(__name__)

SILENCE_LIMIT = 5.0
"""Seconds without one byte after which the connection counts as dead. The canary arrives every
second, so a subscription that hears nothing is deaf, whatever the socket says."""

# Redis does not say why it closes a connection; its own log does.
_CUT = (
    'If the log of Redis has "output buffer limits" now, a message was larger than its '
    "client-output-buffer-limit for pubsub, or the gateway was too far behind: see "
    "SseGatewayFeedFlaps in OPERATIONS.md."
)

_BACKOFF = ExponentialWithJitterBackoff(cap=2.0, base=0.1)


INBOX_BYTES = 64 * 1024 * 1024
"""Bytes that may wait to be delivered; a feed that is further behind stops reading."""


class Message(NamedTuple):
    """One published message, as Redis gave it."""

    channel: bytes
    payload: bytes


class Life(NamedTuple):
    """One confirmed connection: what is recorded is counted by lives (DELIVERY.md, rule 7)."""

    name: str
    since: int
    """Redis TIME in microseconds, taken before the subscription began."""


class Batch(NamedTuple):
    """Messages that arrived in one life, in order."""

    life: Life
    messages: list[Message]


class Subscription:
    """Reads everything published under *prefix*; `run` is its one task."""

    def __init__(self, redis: Redis, prefix: str, metrics: Metrics) -> None:
        self._redis = redis
        self._pattern = channel_pattern(prefix)
        self._metrics = metrics
        # A new name for each process: two that share one would be counted as one.
        self._name = secrets.token_hex(8)
        self._batches: deque[Batch] = deque()
        self._bytes = 0
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._confirmed = asyncio.Event()
        self._failures = 0
        self.on_confirmed: Callable[[], None] = lambda: None
        """Called whenever a new subscription begins: what was published before it is missed."""
        self.problem: str | None = "The subscription has not been confirmed yet."
        """In words, why nothing can arrive now; None while Redis has confirmed the pattern."""

    @property
    def inbox_bytes(self) -> int:
        """Bytes of messages that were read and are not all delivered yet."""
        return self._bytes

    async def confirmed(self) -> None:
        """Wait until Redis has confirmed the pattern."""
        await self._confirmed.wait()

    async def batch(self) -> Batch:
        """All messages of one life that have arrived since the last call; waits for one.

        The reader runs on while data is there, so under load a batch is what one read of the
        socket brought, and a single message does not wait.
        """
        while not self._batches:
            self._arrived.clear()
            await self._arrived.wait()
        batch = self._batches.popleft()
        if not self._batches:
            self._bytes = 0
            self._room.set()
        return batch

    async def run(self) -> None:
        """Subscribe, read, and begin again whenever the connection is lost."""
        while True:
            try:
                await self._live()
            except REDIS_ERRORS as error:
                self._lost(error)
            await asyncio.sleep(_BACKOFF.compute(self._failures))

    async def _live(self) -> None:
        connection: AbstractConnection = self._redis.connection_pool.make_connection()
        try:
            await connection.connect()
            await connection.send_command("TIME")
            seconds, microseconds = await connection.read_response()
            await connection.send_command("PSUBSCRIBE", self._pattern)
            async with asyncio.timeout(SILENCE_LIMIT) as silence:
                await self._read(connection, silence, int(seconds) * 10**6 + int(microseconds))
        finally:
            self._confirmed.clear()
            # Without it a half-open socket would stay behind each time.
            await connection.disconnect(nowait=True)

    async def _read(
        self, connection: AbstractConnection, silence: asyncio.Timeout, since: int
    ) -> None:
        loop = asyncio.get_running_loop()
        life = Life(f"{self._name}.{self._metrics.feed_connections}", since)
        batch = Batch(life, [])
        renew_at = 0.0
        while True:
            reply = await connection.read_response(timeout=math.inf, disconnect_on_error=False)
            if (now := loop.time()) > renew_at:
                # Not for each message: it costs a timer.
                silence.reschedule(now + SILENCE_LIMIT)
                renew_at = now + SILENCE_LIMIT / 10
            match reply:
                case [b"pmessage", _, bytes(channel), bytes(payload)]:
                    if not self._batches or self._batches[-1] is not batch:
                        batch = Batch(life, [])
                        self._batches.append(batch)
                        self._arrived.set()
                    batch.messages.append(Message(channel, payload))
                    await self._make_room(len(payload), silence)
                case [b"psubscribe", *_]:
                    self._begun()

    async def _make_room(self, size: int, silence: asyncio.Timeout) -> None:
        self._bytes += size
        if self._bytes > INBOX_BYTES:
            # Redis drops us if this lasts, and catching up from history is then the way on.
            self._room.clear()
            silence.reschedule(None)
            await self._room.wait()
            silence.reschedule(asyncio.get_running_loop().time() + SILENCE_LIMIT)

    def _begun(self) -> None:
        self._metrics.feed_connections += 1
        log.info("Subscribed to %s (connection %d).", self._pattern, self._metrics.feed_connections)
        self.problem = None
        self._failures = 0
        self._confirmed.set()
        self.on_confirmed()

    def _lost(self, error: Exception) -> None:
        # Once for every kind of trouble, or an hour without Redis would fill the log.
        problem = describe_redis_error(error)
        if problem != self.problem:
            log.warning("The subscription is lost: %s Trying again. (%s)", problem, error)
            if self.problem is None and isinstance(error, RedisConnectionError):
                log.warning(_CUT)
        self.problem = problem
        self._failures += 1
