"""The Redis of a scenario, alone or with a replica behind an address that can be switched."""

import asyncio
from typing import Protocol

from tests.redis_process import RedisProcess
from tests.support import DEADLINE


class Forwarder:
    """An address on loopback whose target can be switched, as a failover switches it."""

    def __init__(self) -> None:
        self.port = 0
        self._target: int | None = None
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self, target: int) -> None:
        """Listen, and forward to the port *target*."""
        self._target = target
        self._server = await asyncio.start_server(self._accept, "127.0.0.1")
        self.port = self._server.sockets[0].getsockname()[1]

    def switch(self, target: int | None) -> None:
        """Cut all connections; new ones go to the port *target*, or are cut at once."""
        self._target = target
        for writer in self._open:
            writer.transport.abort()

    async def clean_up(self) -> None:
        self.switch(None)
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = self._target
        try:
            if target is None:
                raise ConnectionRefusedError
            onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", target)
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, onward_writer}
        self._open |= pair
        if target != self._target:
            onward_writer.transport.abort()
        await asyncio.gather(_pump(reader, onward_writer), _pump(onward_reader, writer))
        self._open -= pair


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Forward until either end is gone, then cut both."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.transport.abort()


class Backend(Protocol):
    """What stands where gateways and producers look for Redis."""

    @property
    def port(self) -> int: ...

    async def start(self) -> None: ...

    async def clean_up(self) -> None: ...


class SingleRedis:
    """One server."""

    def __init__(self, *arguments: str) -> None:
        self.server = RedisProcess(*arguments)
        self.port = self.server.port
        """Where gateways and producers reach it."""

    async def start(self) -> None:
        await asyncio.to_thread(self.server.start)

    async def clean_up(self) -> None:
        await asyncio.to_thread(self.server.clean_up)


class ReplicatedRedis:
    """A master, and a replica whose link can be cut before it is promoted."""

    def __init__(self) -> None:
        self._master = RedisProcess("--repl-diskless-sync-delay", "0")
        self._replica = RedisProcess()
        self._address = Forwarder()
        self._link = Forwarder()
        self.port = 0
        """Where gateways and producers reach whoever is the master."""

    async def start(self) -> None:
        await asyncio.gather(*map(asyncio.to_thread, (self._master.start, self._replica.start)))
        await self._address.start(self._master.port)
        await self._link.start(self._master.port)
        self.port = self._address.port
        await self._order("REPLICAOF", "127.0.0.1", str(self._link.port))

    async def synchronized(self) -> None:
        """Wait until the replica has all that the master has now."""
        written = await self._offset(self._master, "master_repl_offset")
        async with asyncio.timeout(DEADLINE):
            while await self._offset(self._replica, "slave_repl_offset") < written:
                await asyncio.sleep(0.01)

    def cut_link(self) -> None:
        """From now on the replica misses every write."""
        self._link.switch(None)

    async def fail_over(self, *, promoted_first: bool) -> None:
        """The master dies, the replica takes its place; not *promoted_first*: at the address stands
        a replica for a moment, which refuses to write."""
        await asyncio.to_thread(self._master.kill)
        if promoted_first:
            await self._order("REPLICAOF", "NO", "ONE")
            self._address.switch(self._replica.port)
        else:
            self._address.switch(self._replica.port)
            await asyncio.sleep(0.1)
            await self._order("REPLICAOF", "NO", "ONE")

    async def clean_up(self) -> None:
        await self._address.clean_up()
        await self._link.clean_up()
        await asyncio.to_thread(self._master.clean_up)
        await asyncio.to_thread(self._replica.clean_up)

    @staticmethod
    async def _offset(server: RedisProcess, field: str) -> int:
        info = await asyncio.to_thread(server.command, "INFO", "replication")
        assert isinstance(info, dict)
        return int(info.get(field, -1))

    async def _order(self, *words: str) -> None:
        await asyncio.to_thread(self._replica.command, *words)
