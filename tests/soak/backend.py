"""A Redis that fails over again and again: who was the master comes back as the replica."""

import asyncio
from typing import Literal

from tests.delivery.backends import SentinelRedis, follow
from tests.harness.redis_process import SentinelProcess
from tests.support import eventually

Former = Literal["dies", "hangs", "lives on"]
"""What the master does when its replica takes its place."""


class Failover(SentinelRedis):
    """A master, a replica and three sentinels; after each failover the two have changed places."""

    async def fail_over(self, former: Former) -> None:
        """The replica takes the master's place; the *former* master comes back as its replica.
        What was announced since the replica last had everything may be lost."""
        old = self.master
        if former == "lives on":
            await self.order_failover()
        else:
            await asyncio.to_thread(old.suspend if former == "hangs" else old.kill)
        await eventually(self._all_know, timeout=30)
        self.master, self._replica = self._replica, old
        # It takes itself for the master still. A sentinel would tell it too, ten seconds later.
        await follow(self._replica, self.master)

    async def ready(self) -> None:
        """Wait until the next failover could lose nothing of what there is now, and would work."""
        await self.synchronized()
        await eventually(self._all_ready, timeout=60)

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
