"""All gateways subscribe at the node that a lease in Redis names."""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest
from redis.crc import key_slot

from gateway.bus.canary import Canary
from gateway.bus.nodes import LEASE_KEY
from tests.conftest import RunningGateway, StartGateway
from tests.harness.history import payload
from tests.harness.redis_cluster import ClusterNode, RedisCluster
from tests.harness.sse import SseReader
from tests.harness.tcp_proxy import TcpProxy
from tests.support import eventually

pytestmark = pytest.mark.long

LONG_MS = 60_000

OTHER_ADDRESS = "127.0.0.2"
"""Of the same machine. Proxies listen there at the ports of the nodes, so a gateway whose URL has
it reaches the cluster through them: the nodes of this cluster give their ports alone."""

RUNS = [f"run-{number}" for number in range(6)]


def subscribed(cluster: RedisCluster) -> list[int]:
    """How many gateways subscribe at each primary, in the order of their ids."""
    lines = [node.raw("CLIENT", "LIST", "TYPE", "pubsub") for node in cluster.primaries]
    return [len(one.splitlines()) for one in lines]


async def name(cluster: RedisCluster, node: ClusterNode) -> None:
    async with cluster.client() as client:
        await client.set(LEASE_KEY, node.id, px=LONG_MS)


class Fleet:
    """A gateway that reaches all nodes, and one that reaches them through proxies."""

    def __init__(self, cluster: RedisCluster, proxies: dict[int, TcpProxy]) -> None:
        self.cluster = cluster
        self.proxies = proxies
        self.gateways: list[RunningGateway] = []
        self.published: dict[str, list[str]] = {one: [] for one in RUNS}

    async def start(self, start_gateway: StartGateway) -> None:
        url = self.cluster.gateway_url
        for one in (url, url.replace("127.0.0.1", OTHER_ADDRESS)):
            self.gateways.append(await start_gateway(ownership="token", redis_url=one))

    def cut(self, node: ClusterNode) -> None:
        """The second gateway reaches *node* no more."""
        self.proxies[node.port].switch(None)

    def restore(self, node: ClusterNode) -> None:
        """It does again."""
        self.proxies[node.port].switch(node.port)

    async def publish(self, *names: str) -> None:
        """These messages for each execution, at the nodes in turn."""
        nodes = self.cluster.primaries
        for number, event in enumerate(names):
            for at, one in enumerate(RUNS):
                node = nodes[(number + at) % len(nodes)]
                await asyncio.to_thread(
                    node.command, "PUBLISH", f"execution:{one}", payload(event).decode()
                )
                self.published[one].append(event)

    async def open(self) -> list[list[SseReader]]:
        """A stream of each execution, at each gateway."""
        return [[await gateway.open(one) for one in RUNS] for gateway in self.gateways]


async def shown(readers: list[SseReader]) -> list[list[tuple[str, str]]]:
    """What each of them shows until its execution's end: ids and types."""
    seen = [await one.rest() for one in readers]
    return [[(str(one.id), str(one.event)) for one in some if one.id] for some in seen]


@pytest.fixture
async def fleet(redis_cluster: Callable[..., RedisCluster]) -> AsyncIterator[Fleet]:
    cluster = redis_cluster(
        "--cluster-preferred-endpoint-type", "unknown-endpoint",
        "--cluster-require-full-coverage", "no",
    )  # fmt: skip
    proxies = {
        node.port: TcpProxy(node.port, OTHER_ADDRESS, node.port) for node in cluster.primaries
    }
    for one in proxies.values():
        await one.start()
    yield Fleet(cluster, proxies)
    for one in proxies.values():
        await one.stop()


async def test_gateways_at_different_nodes_record_one_history(
    fleet: Fleet, start_gateway: StartGateway
) -> None:
    """One of them cannot reach the named node, which the other one keeps; later both are there."""
    named = fleet.cluster.primaries[2]
    await name(fleet.cluster, named)
    await fleet.start(start_gateway)
    await eventually(lambda: subscribed(fleet.cluster) == [0, 0, 2])
    readers = await fleet.open()
    await fleet.publish("before")
    fleet.cut(named)
    await fleet.publish("while-1", "while-2")
    await eventually(lambda: subscribed(fleet.cluster) == [1, 0, 1])
    await fleet.publish("apart-1", "equal", "equal", "apart-2")
    fleet.restore(named)
    await fleet.publish("back-1", "back-2")
    await eventually(lambda: subscribed(fleet.cluster) == [0, 0, 2])
    await fleet.publish("after", "equal", "execution:completed")
    here, there = [await shown(some) for some in readers]
    assert here == there
    for one, events in zip(RUNS, here, strict=True):
        assert sorted(event for _, event in events) == sorted(fleet.published[one])
    for gateway in fleet.gateways:
        await eventually(gateway.healthy)


async def test_one_that_begins_while_the_lease_cannot_be_read_records_the_same_history(
    redis_cluster: Callable[..., RedisCluster], start_gateway: StartGateway
) -> None:
    """It subscribes at the smallest id, and the others stay where they are. When the node of the
    lease is back, all are at one, and what came for its executions meanwhile is recorded once."""
    cluster = redis_cluster(
        "--cluster-require-full-coverage", "no", "--appendonly", "yes", "--appendfsync", "always"
    )
    _, lost, named = cluster.primaries
    if cluster.owner(LEASE_KEY) is not lost:
        await asyncio.to_thread(cluster.move, key_slot(LEASE_KEY.encode()), lost)
    await name(cluster, named)
    fleet = Fleet(cluster, {})

    async def begin() -> None:
        options: dict[str, Any] = {"ownership": "token", "redis_url": cluster.gateway_url}
        # Health names what is lost.
        fleet.gateways.append(await start_gateway(wait=False, **options))
        await fleet.gateways[-1].components.subscription.confirmed()

    await begin()
    assert subscribed(cluster) == [0, 0, 1]
    here = [await fleet.gateways[0].open(one) for one in RUNS]
    await fleet.publish("before", "equal")
    await asyncio.to_thread(lost.kill)
    await fleet.publish("lost", "equal")
    await begin()
    assert subscribed(cluster) == [1, 1]
    await fleet.publish("apart-1", "equal", "equal", "apart-2")
    await asyncio.to_thread(lost.start)
    # Before that, nobody hears what is PUBLISHed there.
    await eventually(lambda: len(lost.raw("CLUSTER", "LINKS")) == 4)
    await eventually(lambda: subscribed(cluster) == [0, 0, 2])
    for gateway in fleet.gateways:
        await eventually(gateway.healthy)
    there = [await fleet.gateways[1].open(one) for one in RUNS]
    await fleet.publish("after", "equal", "execution:completed")
    seen = await shown(here)
    assert await shown(there) == seen
    for one, events in zip(RUNS, seen, strict=True):
        assert sorted(event for _, event in events) == sorted(fleet.published[one])


@pytest.mark.parametrize("has_lease", [False, True])
async def test_a_node_that_comes_back_moves_nobody(
    redis_cluster: Callable[..., RedisCluster], start_gateway: StartGateway, has_lease: bool
) -> None:
    """Though its id is the smallest, and also where the lease itself was there."""
    cluster = redis_cluster("--cluster-require-full-coverage", "no")
    smallest = cluster.primaries[0]
    if (cluster.owner(LEASE_KEY) is smallest) != has_lease:
        slot = key_slot(LEASE_KEY.encode())
        target = smallest if has_lease else cluster.primaries[1]
        await asyncio.to_thread(cluster.move, slot, target)
    options: dict[str, Any] = {"ownership": "token", "redis_url": cluster.gateway_url}
    gateways = [await start_gateway(**options) for _ in range(2)]
    assert subscribed(cluster) == [2, 0, 0]
    nodes = cluster.primaries[1:]

    def elsewhere() -> list[int]:
        return [len(one.raw("CLIENT", "LIST", "TYPE", "pubsub").splitlines()) for one in nodes]

    await asyncio.to_thread(smallest.kill)
    await eventually(lambda: elsewhere() == [2, 0])
    if not has_lease:
        await eventually(lambda: _names(cluster, nodes[0]))
    await asyncio.to_thread(smallest.start)
    for gateway in gateways:
        await eventually(gateway.healthy)
        # It is looked at where the gateway should subscribe with each of these.
        canary = gateway.components.canary
        await eventually(partial(_has_published, canary, canary.published_in_all + 3))
    assert subscribed(cluster) == [0, 2, 0]
    assert await _names(cluster, nodes[0])
    # One that begins now goes there, too.
    await start_gateway(**options)
    assert subscribed(cluster) == [0, 3, 0]


def _has_published(canary: Canary, number: int) -> bool:
    return canary.published_in_all >= number


async def _names(cluster: RedisCluster, node: ClusterNode) -> bool:
    async with cluster.client() as client:
        return bool(await client.get(LEASE_KEY) == node.id.encode())
