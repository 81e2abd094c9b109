"""Finds the master through its sentinels, and follows a failover to another one.

redis-py's own Sentinel pool is unbounded, and repeats a command after a lost connection at the old
address. Here every connection asks the sentinels whenever it connects, and checks that it has
reached a master.

A master that dies closes its connections. One that hangs, is cut off, or was demoted by hand does
not: it accepts commands, while the events go to another. So the sentinels are also asked every
second (`Master.tick`), and at the first sign of another master all connections are dropped, the
subscription's included. What was missed is read from history, as after any lost subscription.

A publisher has no task. It asks before a write, where the last answer is too old (`make_sure`).
"""

import asyncio
import logging
import math
import time
from typing import Any
from weakref import WeakSet

from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, RedisError

from gateway.bus.errors import REDIS_ERRORS
from gateway.bus.server import PackingConnection, Server, identify
from gateway.dataloader import SingleFlight
from gateway.settings.redis_url import SentinelUrl

log = logging.getLogger(__name__)

MOST_AGE = 0.5
"""Seconds for which an answer of the sentinels is enough for a write of a publisher."""

LONGEST_WAIT = 0.25
"""Seconds for which a write waits for the sentinels; the connections may work without them."""

SENTINEL_TIMEOUT = 1.0
"""Seconds after which the next sentinel is asked."""

Address = tuple[str, int]


class Master(Server):
    """The master that the sentinels name, and the connections to it."""

    tick_seconds = 1.0

    def __init__(self, url: SentinelUrl, pool: BlockingConnectionPool) -> None:
        super().__init__(pool)
        self._name = url.master
        options = {
            **url.sentinel_options,
            "ssl": url.tls,
            "socket_timeout": SENTINEL_TIMEOUT,
            "socket_connect_timeout": SENTINEL_TIMEOUT,
            "retry": Retry(NoBackoff(), 1),
            "protocol": 2,
            "driver_info": None,
        }
        self._sentinels = Sentinel(url.sentinels, sentinel_kwargs=options)
        self._asked: SingleFlight[str, Address] = SingleFlight()
        self._answered_at = -math.inf
        self._problem = False
        self.address: Address | None = None
        """Where a sentinel last said that it is."""
        self.connections: WeakSet[MasterConnection] = WeakSet()
        """All to this master, the subscription's included."""

    async def find(self) -> Address:
        """Where the master is now; raises as redis-py does when no sentinel knows one."""
        found = await self._asked.ask(self._name, self._ask)
        if found != self.address:
            if self.address is not None:
                log.warning("The master %s is at %s:%d now.", self._name, *found)
                await self.leave()
            self.address = found
        return found

    async def _ask(self) -> Address:
        asked = time.monotonic()
        host, port = await self._sentinels.discover_master(self._name)
        self._answered_at = asked
        return str(host), int(port)

    async def make_sure(self) -> None:
        """Ask the sentinels, unless they have answered within `MOST_AGE`; another master is gone
        to. Sentinels that do not answer stop no write."""
        if time.monotonic() - self._answered_at < MOST_AGE:
            return
        try:
            async with asyncio.timeout(LONGEST_WAIT):
                await self.find()
        except REDIS_ERRORS:
            self._answered_at = time.monotonic()

    def failed(self) -> None:
        """The next write asks again."""
        self._answered_at = -math.inf

    async def leave(self) -> None:
        """Drop every connection; a read under way on one fails as lost."""
        for connection in list(self.connections):
            await connection.drop()

    async def tick(self) -> None:
        """Look for another master."""
        try:
            await self.find()
            self._problem = False
        except REDIS_ERRORS as error:
            # The present connections may work all the same; health reports it if not.
            if not self._problem:
                log.warning("The sentinels name no master %s: %s", self._name, error)
            self._problem = True

    async def aclose(self) -> None:
        """Close the connections to the sentinels."""
        await self._asked.stop()
        await self._sentinels.aclose()


class MasterConnection(PackingConnection, Connection):
    """A connection to wherever the master is at the moment of connecting."""

    def __init__(self, *, master: Master, **options: Any) -> None:
        super().__init__(**options)
        self._master = master
        self._dropped = False
        self._reading: asyncio.Timeout | None = None
        master.connections.add(self)

    async def connect(self) -> None:
        """Connect, unless it is connected to the current master already."""
        if self._dropped:
            await self.disconnect(nowait=True)
        await super().connect()  # type: ignore[no-untyped-call] # redis-py has no types there

    async def connect_check_health(
        self, check_health: bool = True, retry_socket_connect: bool = True
    ) -> None:
        """Connect once; redis-py calls it wherever it needs a connection."""
        if self.is_connected:
            return
        self.host, self.port = await self._master.find()
        self._dropped = False
        await super().connect_check_health(check_health, retry_socket_connect)
        try:
            found = await identify(self)
        except RedisError:
            await self.disconnect(nowait=True)
            raise
        if not found.is_master:
            await self.disconnect(nowait=True)
            raise MasterNotFoundError(
                f"{self.host}:{self.port} is not the master: it was, or will be."
            )

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """As in redis-py, but fails as lost where `drop` closes the connection meanwhile."""
        try:
            await super().send_packed_command(command, check_health)
        except AttributeError:
            # Python 3.11 sends in a task of its own, which then finds no socket.
            if not self._dropped:
                raise
            raise RedisConnectionError("Another server is the master now.") from None

    async def read_response(self, *arguments: Any, **options: Any) -> Any:
        """As in redis-py, but fails as lost when another server is the master."""
        try:
            return await self._read(*arguments, **options)
        except TimeoutError:
            raise RedisConnectionError("Another server is the master now.") from None
        except ReadOnlyError:
            # It was demoted: the subscription and all other connections have to leave it too.
            await self._master.leave()
            raise RedisConnectionError("The former master is a replica now.") from None

    async def _read(self, *arguments: Any, **options: Any) -> Any:
        async with asyncio.timeout(0 if self._dropped else None) as reading:
            self._reading = reading
            try:
                return await super().read_response(*arguments, **options)
            finally:
                self._reading = None

    async def drop(self) -> None:
        """Fail the read under way, or disconnect: an idle connection may stay in the pool for
        hours. Waits for nothing."""
        was_dropped, self._dropped = self._dropped, True
        if self._reading is None:
            await self.disconnect(nowait=True)
        elif not was_dropped:
            self._reading.reschedule(0)


class MasterTlsConnection(MasterConnection, SSLConnection):
    """The same over TLS."""


class MasterPool(BlockingConnectionPool):
    """A bounded pool of connections to a master."""

    def __init__(self, url: SentinelUrl, **options: Any) -> None:
        self.server = Master(url, self)
        super().__init__(
            connection_class=MasterTlsConnection if url.tls else MasterConnection,
            master=self.server,
            **url.options,
            **options,
        )

    async def aclose(self) -> None:
        """Close all connections, those to the sentinels too."""
        await super().aclose()
        await self.server.aclose()
