"""The one pattern subscription: a single Redis connection, however many streams are open.

It reads into a bounded inbox, ahead of the feed, since Redis drops a subscriber that lags.
It reconnects by itself, for as long as it takes, and knows nothing of events: see
`gateway.bus.feed`.

It drives one redis-py `Connection` instead of its `PubSub`, which resubscribes silently after a
lost connection: its reader does not learn that messages are missing. Here every connection
is one subscription with a beginning and an end.
"""

import asyncio
import logging
import math
import secrets
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from gateway.bus.canary import Canary
from gateway.bus.errors import REDIS_ERRORS, describe_redis_error
from gateway.bus.server import AnotherServer, Identity, identify
from gateway.bus.session import Session
from gateway.contract.keys import channel_pattern
from gateway.metrics import Metrics
from gateway.retry import Backoff

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

_TICKS = 10
"""Ticks in that time."""

TICK_SECONDS = SILENCE_LIMIT / _TICKS

OLD_SECONDS = 30.0
"""Seconds for which a silent connection is read on once a new one has taken its place."""

_PAUSES = (0.1, 2.0)
"""Seconds before the first attempt to subscribe again, and before later ones, at most."""

INBOX_BYTES = 64 * 1024 * 1024
"""Bytes that may wait to be delivered; a feed that is further behind stops reading."""


class Message(NamedTuple):
    """One published message, as Redis gave it."""

    channel: bytes
    payload: bytes


class SubscriptionSession(NamedTuple):
    """One confirmed connection: recording counts what each one has heard (DELIVERY.md, rule 7)."""

    name: str
    since: int
    """Redis TIME in microseconds, taken before the subscription began."""


class MessageBatch(NamedTuple):
    """Messages that arrived in one session, in order."""

    session: SubscriptionSession
    messages: list[Message]


class Subscription:
    """Reads everything published under *prefix*; `run` is its one task, and `tick` is to be called
    every `TICK_SECONDS`."""

    def __init__(self, redis: Redis, prefix: str, metrics: Metrics, canary: Canary) -> None:
        self._redis = redis
        self._pattern = channel_pattern(prefix)
        self._metrics = metrics
        self._canary = canary
        self._canary_channel = canary.channel.encode()
        # A new name for each process: two that share one would be counted as one.
        self._name = secrets.token_hex(8)
        self._batches: deque[MessageBatch] = deque()
        self._bytes = 0
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._confirmed = asyncio.Event()
        self._pauses = Backoff(*_PAUSES)
        self._session: Session | None = None
        self._old: set[Session] = set()
        """Connections that were given up, while no new one is confirmed."""
        self._ending: set[asyncio.Task[None]] = set()
        self.may_read_old: Callable[[], bool] = lambda: False
        """Whether what comes on two connections is known to be one: it is recorded."""
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

    async def batch(self) -> MessageBatch:
        """All messages of one session that have arrived since the last call; waits for one.

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
        try:
            while True:
                try:
                    await self._live()
                except REDIS_ERRORS as error:
                    self._lost(error)
                await asyncio.sleep(self._pauses.next())
        finally:
            for task in list(self._ending):
                task.cancel()
            await asyncio.gather(*self._ending, return_exceptions=True)
            for session in self._old:
                await session.end()

    async def _live(self) -> None:
        session = Session(self._redis.connection_pool.make_connection())
        connection = session.connection
        try:
            await connection.connect()
            session.server = await identify(connection)
            await connection.send_command("TIME")
            seconds, microseconds = await connection.read_response()
            await connection.send_command("PSUBSCRIBE", self._pattern)
            since = int(seconds) * 10**6 + int(microseconds)
            session.reading = asyncio.create_task(self._read(session, since))
            self._session = session
            ends: list[asyncio.Future[Any]] = [session.reading, session.given_up]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if session.reading.done():
                session.reading.result()
            raise session.given_up.result()
        finally:
            self._session = None
            self._confirmed.clear()
            if session.given_up.done():
                # Its network may be frozen, and come back with all that waits there.
                self._old.add(session)
            else:
                await session.end()

    def tick(self) -> None:
        """Give the connection up if it has brought nothing for `SILENCE_LIMIT`.

        Counted in ticks in which nothing was read, so a process that stood still counts none: what
        has come meanwhile is read before the next one.
        """
        session = self._session
        if session is None:
            return
        # While there is no room it is not asked.
        has_read = session.has_read or not self._room.is_set()
        session.quiet_ticks = 0 if has_read else session.quiet_ticks + 1
        session.has_read = False
        if session.quiet_ticks >= _TICKS:
            # Where no canary may be published, the silence proves nothing.
            session.give_up(self._canary.refusal or TimeoutError())

    def check_server(self, found: Identity) -> bool:
        """Begin again if *found*, a master to which REDIS_URL leads now, is another server than the
        subscription's; whether it is. Nothing has to be written to see it."""
        session = self._session
        if session is None or not found.is_master or found == session.server:
            return False
        session.give_up(AnotherServer())
        return True

    async def _read(self, session: Session, since: int) -> None:
        confirmed = SubscriptionSession(f"{self._name}.{self._metrics.feed_connections}", since)
        batch = MessageBatch(confirmed, [])
        while True:
            reply = await session.connection.read_response(
                timeout=math.inf, disconnect_on_error=False
            )
            session.has_read = True
            match reply:
                case [b"pmessage", _, bytes(channel), bytes(payload)]:
                    if session.given_up.done() and channel == self._canary_channel:
                        # It proves nothing about the connection that has taken its place.
                        if session.is_caught_up(payload):
                            return
                        continue
                    if not self._batches or self._batches[-1] is not batch:
                        batch = MessageBatch(confirmed, [])
                        self._batches.append(batch)
                        self._arrived.set()
                    batch.messages.append(Message(channel, payload))
                    await self._make_room(len(payload))
                case [b"psubscribe", *_]:
                    self._begun()

    async def _make_room(self, size: int) -> None:
        self._bytes += size
        if self._bytes > INBOX_BYTES:
            # Redis drops us if this lasts, and catching up from history is then the way on.
            self._room.clear()
            await self._room.wait()

    def _begun(self) -> None:
        self._metrics.feed_connections += 1
        log.info("Subscribed to %s (connection %d).", self._pattern, self._metrics.feed_connections)
        self.problem = None
        self._pauses.reset()
        self._confirmed.set()
        self._read_old_ones_on()
        self.on_confirmed()

    def _read_old_ones_on(self) -> None:
        """What a silent connection still brings is recorded as its own session's, until it brings
        a canary that is younger than the new one. Without recording it would be shown twice."""
        for session in self._old:
            session.last_canary = self._canary.published_in_all
            seconds = OLD_SECONDS if self.may_read_old() else 0
            task = asyncio.create_task(session.end_within(seconds))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
        self._old.clear()

    def _lost(self, error: Exception) -> None:
        # Once for every kind of trouble, or an hour without Redis would fill the log.
        problem = error.problem if isinstance(error, AnotherServer) else describe_redis_error(error)
        if problem != self.problem:
            log.warning("The subscription is lost: %s Trying again. (%s)", problem, error)
            if self.problem is None and isinstance(error, RedisConnectionError):
                log.warning(_CUT)
        self.problem = problem
