"""The subscription: a single Redis connection, however many streams are open.

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
from collections.abc import Callable
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from gateway.bus.canary import Canary
from gateway.bus.errors import REDIS_ERRORS, describe_redis_error
from gateway.bus.inbox import Inbox, Message, MessageBatch, SubscriptionSession
from gateway.bus.link import Link
from gateway.bus.server import AnotherServer, Identity, identify
from gateway.bus.since import Since, begin_session
from gateway.bus.watched import Channels
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


class Subscription:
    """Reads what is published on *channels*; `run` is its one task, and `tick` is to be called
    every `TICK_SECONDS`."""

    def __init__(
        self,
        redis: Redis,
        channels: Channels,
        metrics: Metrics,
        canary: Canary,
        inbox: Inbox | None = None,
    ) -> None:
        """*inbox*: where several have one."""
        self._redis = redis
        self._channels = channels
        channels.send_soon = self._send_soon
        self._sending: asyncio.Task[None] | None = None
        self._metrics = metrics
        self._canary = canary
        # A new name for each process: two that share one would be counted as one.
        self._name = secrets.token_hex(8)
        self.inbox = inbox or Inbox()
        """Where the feed takes what was read."""
        self._confirmed = asyncio.Event()
        self._pauses = Backoff(*_PAUSES)
        self._link: Link | None = None
        self._old: set[Link] = set()
        """Connections that were given up, while no new one is confirmed."""
        self._ending: set[asyncio.Task[None]] = set()
        self.may_read_old: Callable[[], bool] = lambda: False
        """Whether what comes on two connections is known to be one: it is recorded."""
        self.on_confirmed: Callable[[], None] = lambda: None
        """Called whenever a new subscription begins: what was published before it is missed."""
        self.since = 0
        """When the newest session began, in microseconds of Redis TIME."""
        self.problem: str | None = "The subscription has not been confirmed yet."
        """Why nothing can arrive now, as a sentence; None while there is a confirmed link."""

    def problem_of(self, execution_id: str) -> str | None:
        """Why no event of this execution can arrive now, as a sentence."""
        return self.problem or self._channels.problem_of(execution_id)

    async def confirmed(self, execution_id: str | None = None) -> None:
        """Wait until Redis has confirmed the subscription, and that to this execution."""
        await self._confirmed.wait()
        if execution_id is not None:
            await self._channels.confirmed(execution_id)

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
            for link in self._old:
                await link.end()

    async def _live(self) -> None:
        link = Link(self._redis.connection_pool.make_connection())
        connection = link.connection
        try:
            await connection.connect()
            link.server = await identify(connection)
            since = await begin_session(self._redis, connection, self._canary.channel)
            await connection.send_command(*self._channels.begin())
            link.reading = asyncio.create_task(self._read(link, since))
            self._link = link
            self._send_soon()
            ends: list[asyncio.Future[Any]] = [link.reading, link.given_up]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if not link.given_up.done():
                link.reading.result()
            raise link.given_up.result()
        finally:
            self._link = None
            self._confirmed.clear()
            if self._sending is not None:
                # It may wait for a network that stands still.
                self._sending.cancel()
                self._sending = None
            if link.given_up.done():
                # Its network may be frozen, and come back with all that waits there.
                self._old.add(link)
            else:
                await link.end()

    def _send_soon(self) -> None:
        """Send what there is beside the first command, many channels in one write."""
        is_sending = self._sending is not None and not self._sending.done()
        if self._link is not None and not is_sending:
            self._sending = asyncio.create_task(self._send(self._link))

    async def _send(self, link: Link) -> None:
        connection = link.connection
        try:
            # redis-py would connect again, and its reader would not know.
            while link is self._link and connection.is_connected:
                if not (commands := self._channels.take()):
                    return
                await connection.send_packed_command(connection.pack_commands(commands))
        except (*REDIS_ERRORS, AttributeError) as error:
            # An AttributeError is redis-py's, where the connection was closed just then.
            link.give_up(RedisConnectionError(f"The subscription could not be sent: {error}"))

    def tick(self) -> None:
        """Give the connection up if it has brought nothing for `SILENCE_LIMIT`.

        Counted in ticks in which nothing was read, so a process that stood still counts none: what
        has come meanwhile is read before the next one.
        """
        link = self._link
        if link is None:
            return
        # While there is no room it is not asked.
        has_read = link.has_read or not self.inbox.room.is_set()
        link.quiet_ticks = 0 if has_read else link.quiet_ticks + 1
        link.has_read = False
        if link.quiet_ticks >= _TICKS:
            # Where no canary may be published, the silence proves nothing.
            link.give_up(self._canary.refusal or TimeoutError())

    def check_server(self, found: Identity) -> bool:
        """Begin again if *found*, a master to which REDIS_URL leads now, is another server than the
        subscription's; whether it is. Nothing has to be written to see it."""
        link = self._link
        if link is None or not found.is_master or found == link.server:
            return False
        link.give_up(AnotherServer())
        return True

    async def _read(self, link: Link, since: Since) -> None:
        confirmed = SubscriptionSession(f"{self._name}.{self._metrics.feed_connections}", since)
        batch = MessageBatch(confirmed, [])
        while True:
            reply = await self._reply(link)
            link.has_read = True
            match reply:
                case [b"pmessage", _, channel, payload]:
                    pass
                case [b"message" | b"smessage", channel, payload]:
                    self._channels.heard(channel)
                case [b"psubscribe" | b"subscribe" | b"ssubscribe", bytes(channel), _] if (
                    link is self._link
                ):
                    self._answered(channel, since)
                    continue
                case [b"sunsubscribe", bytes(channel), _] if link is self._link:
                    self._channels.ended(channel)
                    continue
                case _:
                    continue
            if link.given_up.done() and channel == self._canary.channel.encode():
                # It proves nothing about the connection that has taken its place.
                if link.is_caught_up(payload, self._canary.names):
                    return
                continue
            batch = self.inbox.put(batch, Message(channel, payload))
            if not self.inbox.room.is_set():
                # Redis drops us if this lasts, and catching up from history is then the way on.
                await self.inbox.room.wait()

    async def _reply(self, link: Link) -> Any:
        while True:
            try:
                return await link.connection.read_response(
                    timeout=math.inf, disconnect_on_error=False
                )
            except ResponseError as refusal:
                if link is not self._link:
                    raise
                self._channels.refused(refusal)

    def _answered(self, channel: bytes, since: Since) -> None:
        if channel == self._channels.first:
            self._begun(since)
        else:
            self._channels.answered(channel)

    def _begun(self, since: Since) -> None:
        self._metrics.feed_connections += 1
        name, number = self._channels.name, self._metrics.feed_connections
        log.info("Subscribed to %s (connection %d).", name, number)
        self.problem, self.since = None, since.latest
        self._pauses.reset()
        self._confirmed.set()
        self._canary.session_begun()
        self._read_old_ones_on()
        self.on_confirmed()

    def _read_old_ones_on(self) -> None:
        """What a silent connection still brings is recorded as its own session's, until it brings
        a canary that is younger than the new one. Without recording it would be shown twice."""
        for link in self._old:
            link.last_canary = self._canary.published_in_all
            seconds = OLD_SECONDS if self.may_read_old() else 0
            task = asyncio.create_task(link.end_within(seconds))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
        self._old.clear()

    def _lost(self, error: Exception) -> None:
        # Once for every kind of trouble, or an hour without Redis would fill the log.
        problem = error.problem if isinstance(error, AnotherServer) else describe_redis_error(error)
        if problem != self.problem:
            detail = f" ({error})" if str(error) else ""
            log.warning("The subscription is lost: %s Trying again.%s", problem, detail)
            if self.problem is None and isinstance(error, RedisConnectionError):
                log.warning(_CUT)
        self.problem = problem
