"""The Redis of a scenario: alone, with a replica behind an address that can be switched, or with
sentinels; `tests.delivery.cluster_backend` has clusters."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import ConstantBackoff

from gateway.bus.connection import create_redis
from tests.harness.redis_process import RedisProcess, SentinelProcess
from tests.harness.tcp_proxy import TcpProxy
from tests.support import DEADLINE, eventually


class Backend(Protocol):
    """What stands where gateways and producers look for Redis."""

    @property
    def url(self) -> str:
        """For gateways and publishers."""

    def client(self, **options: Any) -> Redis:
        """A client of the master, as a worker of today has one; *options* are redis-py's."""

    def observer(self) -> Redis:
        """The stage's own client of the master, which outlives whatever happens."""

    async def start(self) -> None: ...

    async def clean_up(self) -> None: ...


class SingleRedis:
    """One server."""

    def __init__(self, *arguments: str) -> None:
        self.server = RedisProcess(*arguments)
        self.url = self.server.url

    def client(self, **options: Any) -> Redis:
        return Redis.from_url(self.url, **options)

    def observer(self) -> Redis:
        return self.client(retry=Retry(ConstantBackoff(0.05), 100))

    async def start(self) -> None:
        await asyncio.to_thread(self.server.start)

    async def clean_up(self) -> None:
        await asyncio.to_thread(self.server.clean_up)


class ReplicatedRedis:
    """A master, and a replica whose link can be cut before it is promoted."""

    def __init__(self, program: str | None = None) -> None:
        """*program*: of the servers."""
        self._master, self.replica = [
            RedisProcess("--repl-diskless-sync-delay", "0", program=program) for _ in range(2)
        ]
        self._address = TcpProxy()
        self._link = TcpProxy()
        self.url = ""
        """Where gateways and producers reach the present master."""

    def client(self, **options: Any) -> Redis:
        return Redis.from_url(self.url, **options)

    def observer(self) -> Redis:
        return self.client(retry=Retry(ConstantBackoff(0.05), 100))

    async def start(self) -> None:
        await asyncio.gather(*map(asyncio.to_thread, (self._master.start, self.replica.start)))
        for proxy in (self._address, self._link):
            proxy.switch(self._master.port)
            await proxy.start()
        self.url = f"redis://127.0.0.1:{self._address.port}/0"
        await self._order("REPLICAOF", "127.0.0.1", str(self._link.port))

    async def synchronized(self) -> None:
        """Wait until the replica has all that the master has now."""
        await synchronized(self._master, self.replica)

    async def linked(self) -> None:
        """Wait until the replica follows its master."""
        await linked(self.replica)

    async def move(self) -> None:
        """The replica takes the master's place, and that one follows it; no connection is closed,
        and only new ones come to the new master."""
        await self._order("REPLICAOF", "NO", "ONE")
        order = "REPLICAOF", "127.0.0.1", str(self.replica.port)
        await asyncio.to_thread(self._master.command, *order)
        self._address.target = self.replica.port

    async def restore(self) -> None:
        """The former master follows the new one, if it does not yet."""
        await follow(self._master, self.replica)

    async def die(self) -> None:
        """The master dies, and its place is taken badly: the first connections are refused, the
        next ones come to a replica, which is promoted a moment later."""
        self._address.switch(None)
        await asyncio.to_thread(self._master.kill)
        await asyncio.sleep(0.3)
        self._address.target = self.replica.port
        await asyncio.sleep(0.3)
        await self._order("REPLICAOF", "NO", "ONE")

    def cut_link(self) -> None:
        """From now on the replica misses every write."""
        self._link.switch(None)

    async def fail_over(self, *, promoted_first: bool) -> None:
        """The master dies, the replica takes its place; not *promoted_first*: at the address stands
        a replica for a moment, which refuses to write."""
        await asyncio.to_thread(self._master.kill)
        if promoted_first:
            await self._order("REPLICAOF", "NO", "ONE")
            self._address.switch(self.replica.port)
        else:
            self._address.switch(self.replica.port)
            await asyncio.sleep(0.1)
            await self._order("REPLICAOF", "NO", "ONE")

    async def clean_up(self) -> None:
        await self._address.stop()
        await self._link.stop()
        await asyncio.to_thread(self._master.clean_up)
        await asyncio.to_thread(self.replica.clean_up)

    async def _order(self, *words: str) -> None:
        await asyncio.to_thread(self.replica.command, *words)


@asynccontextmanager
async def linked_replica(program: str | None = None) -> AsyncIterator[ReplicatedRedis]:
    """A master and its replica, which has all that the master has; *program*: of the servers."""
    backend = ReplicatedRedis(program)
    await backend.start()
    await backend.linked()
    try:
        yield backend
    finally:
        await backend.clean_up()


class SentinelRedis:
    """A master, a replica, and three sentinels that put the one in the other's place."""

    name = "events"

    def __init__(self) -> None:
        self.master, self._replica = [
            RedisProcess("--repl-diskless-sync-delay", "0") for _ in range(2)
        ]
        self._sentinels = [SentinelProcess() for _ in range(3)]
        self._asked: list[Sentinel] = []
        self._addresses = [("127.0.0.1", sentinel.port) for sentinel in self._sentinels]
        hosts = ",".join(f"{host}:{port}" for host, port in self._addresses)
        self.url = f"redis+sentinel://{hosts}/{self.name}/0"

    def client(self, **options: Any) -> Redis:
        # Who waits for a master that hangs for as long as it takes gets no other one.
        asked = Sentinel(self._addresses, **{**options, "socket_timeout": 1.0})
        self._asked.append(asked)
        client: Redis = asked.master_for(self.name)
        return client

    def observer(self) -> Redis:
        # redis-py's own tries again where the master was.
        return create_redis(self.url, max_connections=8, answer_timeout=1.0)

    async def start(self) -> None:
        servers = (self.master, self._replica, *self._sentinels)
        await asyncio.gather(*[asyncio.to_thread(server.start) for server in servers])
        await asyncio.to_thread(
            self._replica.command, "REPLICAOF", "127.0.0.1", str(self.master.port)
        )
        for sentinel in self._sentinels:
            await asyncio.to_thread(
                sentinel.watch,
                self.name,
                self.master.port,
                quorum=2,
                # With less, a new master that was only busy was taken for dead, and the old one put
                # in its place before that had got back what it had lost.
                down_after_milliseconds=1500,
                failover_timeout=2000,
            )
        async with asyncio.timeout(DEADLINE):
            while not all([await self._is_ready(sentinel) for sentinel in self._sentinels]):
                await asyncio.sleep(0.05)

    async def synchronized(self) -> None:
        """Wait until the replica has all that the master has now."""
        await synchronized(self.master, self._replica)

    async def order_failover(self) -> None:
        """Ask a sentinel for a planned failover: the former master lives on, and takes writes."""
        await asyncio.to_thread(self._sentinels[0].command, "SENTINEL", "FAILOVER", self.name)

    async def restore(self) -> None:
        """The former master follows the new one; the sentinels take ten seconds to say so."""
        await follow(self.master, self._replica)

    async def promoted(self) -> None:
        """Wait until a sentinel says that the replica is the master."""
        async with asyncio.timeout(DEADLINE):
            while self._replica.port not in [
                await asyncio.to_thread(sentinel.master, self.name) for sentinel in self._sentinels
            ]:
                await asyncio.sleep(0.01)

    async def clean_up(self) -> None:
        for asked in self._asked:
            await asked.aclose()
        for server in (*self._sentinels, self._replica, self.master):
            await asyncio.to_thread(server.clean_up)

    async def _is_ready(self, sentinel: SentinelProcess) -> bool:
        """Whether it knows the others and the replica: before that it can put nobody in place."""
        known = await asyncio.to_thread(sentinel.watched, self.name)
        return known["num-other-sentinels"] == "2" and known["num-slaves"] == "1"


async def follow(former: RedisProcess, master: RedisProcess) -> None:
    """*former*, which may be dead or hang, comes back as a replica of *master*."""
    await asyncio.to_thread(former.revive)
    await asyncio.to_thread(former.command, "REPLICAOF", "127.0.0.1", str(master.port))
    await linked(former)


async def linked(replica: RedisProcess) -> None:
    """Wait until *replica* follows its master."""

    async def check() -> bool:
        info = await asyncio.to_thread(replica.command, "INFO", "replication")
        assert isinstance(info, dict)
        return info.get("master_link_status") == "up"

    await eventually(check)


async def synchronized(master: RedisProcess, replica: RedisProcess) -> None:
    """Wait until *replica* has all that *master* has now."""
    written = await _offset(master, "master_repl_offset")
    async with asyncio.timeout(DEADLINE):
        while await _offset(replica, "slave_repl_offset") < written:
            await asyncio.sleep(0.01)


async def _offset(server: RedisProcess, field: str) -> int:
    info = await asyncio.to_thread(server.command, "INFO", "replication")
    assert isinstance(info, dict)
    return int(info.get(field, -1))
