"""The one pattern subscription: a single Redis connection, however many streams are open.

It reads into an inbox and never waits for anybody, since Redis drops a subscriber that lags. It
reconnects by itself, for as long as it takes, and knows nothing of events: see `gateway.bus.feed`.

It drives one redis-py `Connection` instead of its `PubSub`, which resubscribes silently after a
lost connection: whoever reads on does not learn that messages are missing. Here every connection
is one subscription with a beginning and an end.
"""

import asyncio
import logging
import math
import re
from typing import NamedTuple

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.backoff import ExponentialWithJitterBackoff

from gateway.bus.trouble import REDIS_ERRORS, in_words
from gateway.metrics import Metrics

log = logging.getLogger(__name__)

SILENCE_LIMIT = 5.0
"""Seconds without one byte after which the connection counts as dead. The canary arrives every
second, so a subscription that hears nothing is deaf, whatever the socket says."""

_BACKOFF = ExponentialWithJitterBackoff(cap=2.0, base=0.1)


class Message(NamedTuple):
    """One published message, as Redis gave it."""

    channel: bytes
    payload: bytes


class Subscription:
    """Reads everything published under *prefix*; `run` is its one task."""

    def __init__(self, redis: Redis, prefix: str, metrics: Metrics) -> None:
        self._redis = redis
        self._pattern = re.sub(r"([\\*?\[\]])", r"\\\1", prefix) + "*"
        self._metrics = metrics
        self._inbox: list[Message] = []
        self._arrived = asyncio.Event()
        self._confirmed = asyncio.Event()
        self._failures = 0
        self.trouble: str | None = "The subscription has not been confirmed yet."
        """In words, why nothing can arrive now; None while Redis has confirmed the pattern."""

    async def confirmed(self) -> None:
        """Wait until Redis has confirmed the pattern."""
        await self._confirmed.wait()

    async def batch(self) -> list[Message]:
        """All messages that have arrived since the last call; waits until there is one.

        The reader runs on while data is there, so under load a batch is what one read of the
        socket brought, and a single message does not wait.
        """
        await self._arrived.wait()
        self._arrived.clear()
        batch, self._inbox = self._inbox, []
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
            await connection.send_command("PSUBSCRIBE", self._pattern)
            async with asyncio.timeout(SILENCE_LIMIT) as silence:
                await self._read(connection, silence)
        finally:
            self._confirmed.clear()
            # Without it a half-open socket would stay behind each time.
            await connection.disconnect(nowait=True)

    async def _read(self, connection: AbstractConnection, silence: asyncio.Timeout) -> None:
        loop = asyncio.get_running_loop()
        while True:
            reply = await connection.read_response(timeout=math.inf, disconnect_on_error=False)
            if not self._inbox:
                silence.reschedule(loop.time() + SILENCE_LIMIT)
                self._arrived.set()
            match reply:
                case [b"pmessage", _, bytes(channel), bytes(payload)]:
                    self._inbox.append(Message(channel, payload))
                case [b"psubscribe", *_]:
                    self._begun()

    def _begun(self) -> None:
        self._metrics.feed_connections += 1
        log.info("Subscribed to %s (connection %d).", self._pattern, self._metrics.feed_connections)
        self.trouble = None
        self._failures = 0
        self._confirmed.set()

    def _lost(self, error: Exception) -> None:
        # Once for every kind of trouble, or an hour without Redis would fill the log.
        trouble = in_words(error)
        if trouble != self.trouble:
            log.warning("The subscription is lost: %s Trying again. (%s)", trouble, error)
        self.trouble = trouble
        self._failures += 1
