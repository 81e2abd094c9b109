"""A Redis that fails over again and again: who was the master comes back as the replica."""

import asyncio

from tests.delivery.backends import SentinelRedis
from tests.harness.redis_process import SentinelProcess
from tests.support import eventually


class Failover(SentinelRedis):
    """A master, a replica and three sentinels; after each failover the two have changed places."""

    async def fail_over(self, *, hangs: bool) -> None:
        """The master dies, or *hangs* and comes to itself later, and its replica takes its place.
        What was announced since the replica last had everything may be lost."""
        old = self.master
        await asyncio.to_thread(old.suspend if hangs else old.kill)
        await eventually(self._all_know, timeout=30)
        self.master, self._replica = self._replica, old
        # It takes itself for the master still. A sentinel would tell it too, ten seconds later.
        await asyncio.to_thread(old.resume if hangs else old.start)
        await self._order_replica()

    async def ready(self) -> None:
        """Wait until the next failover could lose nothing of what there is now, and would work."""
        await self.synchronized()
        await eventually(self._all_ready, timeout=60)

    async def _order_replica(self) -> None:
        await asyncio.to_thread(
            self._replica.command, "REPLICAOF", "127.0.0.1", str(self.master.port)
        )

    async def _all_know(self) -> bool:
        """Whether each sentinel names the replica as the master: clients ask any of them."""
        said = [await asyncio.to_thread(sentinel.master, self.name) for sentinel in self._sentinels]
        return all(port == self._replica.port for port in said)

    async def _all_ready(self) -> bool:
        return all([await self._is_ready(sentinel) for sentinel in self._sentinels])

    async def _is_ready(self, sentinel: SentinelProcess) -> bool:
        """Whether it takes the replica for one that can be put in the master's place."""
        found = await asyncio.to_thread(sentinel.command, "SENTINEL", "REPLICAS", self.name)
        assert isinstance(found, list)
        return [
            replica[b"flags"] == b"slave" and replica[b"master-link-status"] == b"ok"
            for replica in found
        ] == [True] and await super()._is_ready(sentinel)
