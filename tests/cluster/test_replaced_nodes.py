"""A primary of a cluster hangs, and its replica takes its place: it closes no connection."""

import asyncio
import time
from collections.abc import Callable

import pytest

from gateway.bus.cluster import Cluster
from gateway.bus.connection import COMMAND_TIMEOUT, create_redis
from gateway.contract.keys import meta_key
from tests.harness.redis_cluster import RedisCluster
from tests.harness.ticking import ticking
from tests.support import eventually

pytestmark = [pytest.mark.long, pytest.mark.alone]

KEY = meta_key("run-0")


@pytest.mark.parametrize("connected", [False, True])
async def test_what_waits_for_it_is_asked_of_the_new_primary(
    redis_cluster: Callable[..., RedisCluster], connected: bool
) -> None:
    """Long before a command is given up; also what waits for a connection."""
    cluster = redis_cluster(replicas=1)
    lost = cluster.owner(KEY)
    async with create_redis(cluster.gateway_url, max_connections=4) as client:
        assert isinstance(client, Cluster)
        await (client.hset(KEY, "a", "1") if connected else client.nodes.known())
        await asyncio.to_thread(lost.suspend)
        await eventually(lambda: cluster.owner(KEY) is not lost)
        waiting = asyncio.ensure_future(client.hget(KEY, "a"))
        node = client.node_of(KEY)
        assert node is not None
        assert node.address[1] == lost.port
        await eventually(lambda: node.is_slow)
        began = time.monotonic()
        async with ticking(client.nodes.tick_seconds, client.nodes.tick):
            await waiting
        assert time.monotonic() - began < COMMAND_TIMEOUT / 2


@pytest.mark.parametrize("hangs", [False, True])
async def test_a_failover_is_over_when_another_node_serves(
    redis_cluster: Callable[..., RedisCluster], hangs: bool
) -> None:
    """What other tests wait for."""
    cluster = redis_cluster(replicas=1)
    lost = cluster.owner(KEY)
    replica = cluster.replica_of(lost)
    await asyncio.to_thread(lost.suspend if hangs else lost.kill)
    await asyncio.to_thread(cluster.promoted, lost.port)
    assert replica.is_primary
    assert replica.raw("HLEN", KEY) == 0
