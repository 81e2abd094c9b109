"""A primary of a cluster hangs, and its replica takes its place: it closes no connection."""

import asyncio
import gc
import time
import weakref
from collections.abc import Callable

import pytest

from gateway.bus import nodes
from gateway.bus.cluster import Cluster
from gateway.bus.connection import COMMAND_TIMEOUT, create_redis
from gateway.contract.keys import meta_key
from tests.conftest import StartGateway
from tests.harness.redis_cluster import RedisCluster
from tests.harness.ticking import ticking
from tests.support import eventually, producer_message

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


@pytest.mark.parametrize("subscription", ["pattern", "execution"])
async def test_nothing_refers_to_a_node_that_is_gone(
    redis_cluster: Callable[..., RedisCluster],
    start_gateway: StartGateway,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where nodes are replaced, each new one may have another address, for years."""
    monkeypatch.setattr(nodes, "_FORMER", 0)
    cluster = redis_cluster(replicas=1)
    gateway = await start_gateway(ownership="token", redis_url=cluster.gateway_url)
    redis = gateway.components.redis
    assert isinstance(redis, Cluster)

    async def show(number: int) -> None:
        async with cluster.client() as client:
            await client.publish("execution:run-0", producer_message("bare", n=number).decode())
        assert (await reader.expect("bare")).json()["data"]["n"] == number

    reader = await gateway.open("run-0")
    await show(1)
    node = redis.node_of(KEY)
    assert node is not None
    gone = weakref.ref(node)
    del node
    await asyncio.to_thread(cluster.fail_over, cluster.owner(KEY))
    await show(2)

    def is_forgotten() -> bool:
        gc.collect()
        return gone() is None

    await eventually(is_forgotten)
    await show(3)
