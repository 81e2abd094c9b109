"""The links to the nodes of a cluster, where a node is gone."""

import asyncio
from contextlib import suppress

from redis.asyncio import Redis

from gateway.bus.cluster import Cluster
from gateway.bus.node import Node
from gateway.bus.shards import Shard, Shards
from gateway.metrics import Metrics
from gateway.settings.redis_url import parse_cluster_url


async def test_the_link_to_a_node_that_is_gone_ends_though_it_swallows_a_cancellation() -> None:
    """As a library may that is just connecting."""

    async def stubborn() -> None:
        for _ in range(3):
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    url = parse_cluster_url("redis+cluster://127.0.0.1:1")
    async with Cluster(url, retries=0, command_timeout=1.0) as cluster, Redis() as client:
        shards = Shards(cluster, "execution:", Metrics())
        node = Node(("127.0.0.1", 1), client)
        begun = shards._begin(node)
        begun.task.cancel()
        link = asyncio.create_task(stubborn())
        shards._shards[node] = Shard(node, begun.watched, begun.subscription, link)
        await asyncio.sleep(0)
        shards._follow()
        for _ in range(2):
            await asyncio.sleep(0)
            assert not link.done()
            shards.tick()
        await asyncio.wait_for(link, 1.0)
        assert not shards._ending
