"""A cluster as the Redis of a scenario."""

import asyncio
from typing import Any

from redis.asyncio import Redis

from tests.delivery.backends import synchronized
from tests.harness.redis_cluster import ClusterClient, ClusterNode, RedisCluster
from tests.support import DEADLINE


class _Worker(ClusterClient):
    """Publishes where the gateways subscribe: only there the answer says who hears it."""

    async def publish(self, *args: Any, **options: Any) -> Any:
        self.nodes.agreed = ""
        await self.nodes.learn_agreed()
        return await super().publish(*args, **options)


class ClusterRedis:
    """Three primaries, and a replica of each."""

    seconds = 1.0
    """Of a worker's command. Who waits for a node that hangs for as long as it takes finds no other
    one."""

    def __init__(self) -> None:
        # The nodes that are left serve what is theirs.
        self.cluster = RedisCluster("--cluster-require-full-coverage", "no", replicas=1)
        self.url = self.cluster.url

    def client(self, **options: Any) -> Redis:
        return self.cluster.client(retries=0, timeout=self.seconds, kind=_Worker)

    def observer(self) -> Redis:
        return self.cluster.client(retries=100, timeout=self.seconds, deadline=DEADLINE)

    async def start(self) -> None:
        await asyncio.to_thread(self.cluster.start)

    async def synchronized(self, primary: ClusterNode) -> None:
        """Wait until the replica of *primary* has all that it has now."""
        replica = await asyncio.to_thread(self.cluster.replica_of, primary)
        await synchronized(primary, replica)

    async def restore(self, former: ClusterNode) -> None:
        """*former*, which may be dead or hang, comes back as a replica."""
        await asyncio.to_thread(former.revive)
        await asyncio.to_thread(self.cluster.settled)

    async def clean_up(self) -> None:
        await asyncio.to_thread(self.cluster.clean_up)


class PausingCluster(ClusterRedis):
    """The same, with workers for which a planned failover may take its time."""

    seconds = 6.0
    """A primary pauses who writes for up to 5 s, until its replica has all."""
