"""The server that REDIS_URL leads to. It may become the wrong one while its connections stay open.

Behind one host name (a service of Kubernetes, a proxy) a former master stays up as a replica and
closes no connection. A connection resolves the name only when it connects. So after an answer that
only a wrong server gives, each connection connects again before its next command. And every second
the gateway checks, over a new connection, whether the name leads to the server of its subscription
(`Server.tick`). With a Sentinel URL, `gateway.bus.sentinel` does this.
"""

import math
import re
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, ClassVar, NamedTuple

from hiredis import pack_command
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)
from redis.exceptions import RedisError, ResponseError

from gateway.bus.errors import REDIS_ERRORS, is_of_wrong_server

DOUBTS_APART = 0.2
"""Seconds between two times that all connections are made to connect again."""


class AnotherServer(RedisError):
    """REDIS_URL leads to another server than the connection in use."""

    problem = "REDIS_URL leads to another server now: the gateway subscribes there."


class Identity(NamedTuple):
    """Which server it is; another one, or the same after a failover, differs."""

    is_master: bool
    replid: bytes
    """Its `master_replid`: that of its master, for a replica."""


async def identify(connection: AbstractConnection) -> Identity:
    """Which server *connection* has reached."""
    # Not ROLE: the scripts have the right to INFO already.
    await connection.send_command("INFO", "replication")
    info: bytes = await connection.read_response()
    replid = re.search(rb"master_replid:(\w+)", info)
    return Identity(b"role:master" in info, replid[1] if replid else b"")


class Server:
    """Where the connections of one pool lead. A gateway calls `tick` every `tick_seconds`, and
    after an answer of a wrong server."""

    tick_seconds: ClassVar = 1.0

    def __init__(self, pool: BlockingConnectionPool) -> None:
        self._pool = pool
        self.moves = 0
        """How often its connections were told to connect again."""
        self._doubted_at = -math.inf
        self.on_doubt: Callable[[], None] = lambda: None
        """Called after an answer that only a wrong server gives."""
        self.is_another: Callable[[Identity], bool] = lambda _: False
        """Given the server where the name leads now, begins the subscription again and says so
        where that is another one."""

    async def tick(self) -> None:
        """Look where the name leads."""
        # What is wrong with a server that cannot be asked, health says.
        with suppress(*REDIS_ERRORS):
            connection: AbstractConnection = self._pool.make_connection()
            try:
                await connection.connect()
                found = await identify(connection)
            finally:
                await connection.disconnect(nowait=True)
            if self.is_another(found):
                self.moves += 1

    async def make_sure(self) -> None:
        """Called before a write that must not go to a former master. A name cannot be asked."""

    @property
    def problems(self) -> Iterable[str]:
        """A sentence about each part of Redis that is lost, while others work."""
        return ()

    def failed(self) -> None:
        """A command has failed, so what was known of the server is not sure any more."""

    def doubt(self) -> None:
        """Connect again before the next command of each connection: the name may lead elsewhere."""
        # A server that goes on refusing would else get a new connection for each command.
        if time.monotonic() - self._doubted_at < DOUBTS_APART:
            return
        self._doubted_at = time.monotonic()
        self.moves += 1
        self.on_doubt()


class PackingConnection(AbstractConnection):
    """Writes commands in C: redis-py does that only in threads, and a command with 20 arguments
    takes it 14 microseconds instead of 2."""

    def pack_command(self, *args: Any) -> list[bytes]:
        """As in redis-py."""
        name = args[0]
        if (" " if isinstance(name, str) else b" ") in name:
            # Two words, which Redis takes as two arguments.
            return super().pack_command(*args)
        try:
            return [pack_command(args)]
        except TypeError:
            # It names the argument.
            return super().pack_command(*args)


class ServerConnection(PackingConnection):
    """A connection that connects again where the name may lead to another server."""

    def __init__(self, *, server: Server, **options: Any) -> None:
        super().__init__(**options)
        self._server = server
        self._moves = server.moves

    async def connect(self) -> None:
        """Connect, unless it is connected to where the name leads."""
        if self._moves != self._server.moves:
            await self.disconnect(nowait=True)
            self._moves = self._server.moves
        await super().connect()  # type: ignore[no-untyped-call] # redis-py has no types there

    async def read_response(self, *arguments: Any, **options: Any) -> Any:
        """As in redis-py; an answer of a wrong server makes all connections connect again."""
        try:
            return await super().read_response(*arguments, **options)
        except ResponseError as error:
            if is_of_wrong_server(error):
                self._server.doubt()
            raise


class _Tcp(ServerConnection, Connection):
    """Over TCP."""


class _Tls(ServerConnection, SSLConnection):
    """Over TLS."""


class _Unix(ServerConnection, UnixDomainSocketConnection):
    """Over a Unix socket."""


class ServerPool(BlockingConnectionPool):
    """A bounded pool of connections to the server that a URL names."""

    def __init__(self, url: str, **options: Any) -> None:
        self.server = Server(self)
        named = dict(parse_url(url))
        kind = named.pop("connection_class", Connection)
        kinds: dict[object, type[ServerConnection]] = {
            SSLConnection: _Tls,
            UnixDomainSocketConnection: _Unix,
        }
        super().__init__(
            connection_class=kinds.get(kind, _Tcp), server=self.server, **{**options, **named}
        )
