"""A link between two nodes of a cluster is down: canaries that do not come back show it."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from gateway.bus.cluster import Cluster
from gateway.bus.cluster_canary import ClusterCanary
from gateway.bus.connection import create_redis
from gateway.bus.node import Node
from gateway.contract.acl import PUBLISHER
from gateway.contract.keys import events_key, meta_key
from gateway.publisher import Publisher
from tests.conftest import StartGateway
from tests.harness.history import payload
from tests.harness.redis_cluster import ClusterNode, RedisCluster
from tests.harness.tcp_proxy import TcpProxy
from tests.support import eventually

LATE = 4.0
"""Seconds within which an event is shown that a link has lost."""

ROUNDS = 8
"""Canaries, one a second, after which no new subscription is looked after any more."""


@pytest.fixture
async def redis(cluster: RedisCluster) -> AsyncIterator[Cluster]:
    async with create_redis(cluster.gateway_url, max_connections=4) as client:
        assert isinstance(client, Cluster)
        await client.nodes.known()
        yield client


class Rounds:
    """Canaries that nodes have published and answered, of which some come back."""

    def __init__(self, redis: Cluster) -> None:
        self.canary = ClusterCanary("execution:", redis)
        self.missed: list[Node] = []
        self.canary.on_missed = self.missed.append

    async def ask(self, redis: Cluster, *without: Node) -> None:
        """One round; nothing comes from the nodes in *without*."""
        for question in self.canary.questions():
            [answer] = await redis.exchange([question.command], question.node)
            question.answered(answer)
            if question.node not in without:
                self.canary.returned(self.canary.instance, str(question.command[2]).encode())


@pytest.mark.long
async def test_a_canary_that_does_not_come_back_names_its_node(redis: Cluster) -> None:
    """Once for each that is missing, when the next one of another node has come."""
    rounds, (own, other, _) = Rounds(redis), redis.primaries()
    await rounds.ask(redis)
    await rounds.ask(redis, other)
    assert not rounds.missed
    await rounds.ask(redis, other)
    assert rounds.missed == [other]
    assert not list(rounds.canary.lost_links)
    for _ in range(3):
        await rounds.ask(redis, other)
    assert rounds.missed == [other] * 4
    [sentence] = rounds.canary.lost_links
    assert other.id[:8] in sentence
    assert rounds.canary.problem is None
    await rounds.ask(redis)
    assert not list(rounds.canary.lost_links)
    await rounds.ask(redis)
    assert rounds.missed == [other] * 5
    assert own not in rounds.missed


@pytest.mark.long
async def test_a_new_session_does_not_wait_for_what_went_to_the_one_before(redis: Cluster) -> None:
    rounds = Rounds(redis)
    await rounds.ask(redis)
    for _ in range(5):
        await rounds.ask(redis, *redis.primaries())
    rounds.canary.session_begun()
    await rounds.ask(redis)
    assert not rounds.missed
    assert not list(rounds.canary.lost_links)


@pytest.mark.long
async def test_each_primary_publishes_a_canary(
    cluster: RedisCluster, start_gateway: StartGateway
) -> None:
    gateway = await start_gateway(ownership="token", redis_url=cluster.gateway_url)
    canary = gateway.components.canary
    await eventually(lambda: canary.names == {node.id.encode() for node in cluster.primaries})
    await eventually(gateway.healthy)


class BusLinks(TcpProxy):
    """The way of the other nodes to one: what some of them send is cut."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: set[bytes] = set()
        """Ids of the nodes from which nothing passes."""

    async def request_passes(self, chunk: bytes) -> bool:
        """A message of the cluster bus begins with its kind; the id of its sender follows."""
        return not (chunk.startswith(b"RCmb") and chunk[40:80] in self.refused)


@pytest.fixture
async def linked() -> AsyncIterator[tuple[RedisCluster, dict[ClusterNode, BusLinks]]]:
    """A cluster, and the links of its bus by the node to which they lead."""
    cluster = RedisCluster()
    links = {node: BusLinks() for node in cluster.nodes}
    for node, link in links.items():
        link.target = node.bus_port
        await link.start()
        node.add("--cluster-announce-bus-port", str(link.port))
    await asyncio.to_thread(cluster.start)
    yield cluster, links
    cluster.clean_up()
    for link in links.values():
        await link.stop()


@pytest.mark.long
@pytest.mark.alone
async def test_a_link_that_is_down_loses_only_what_is_bare(
    linked: tuple[RedisCluster, dict[ClusterNode, BusLinks]], start_gateway: StartGateway
) -> None:
    """Health names the node from which nothing comes. What `Publisher` writes there is read from
    history; what was only PUBLISHed there never comes, and afterwards all do again."""
    cluster, links = linked
    # No heartbeat finds what was missed.
    gateway = await start_gateway(
        ownership="token", redis_url=cluster.gateway_url, heartbeat_seconds=600
    )
    here, cut, other = cluster.primaries
    runs = {cluster.owner(meta_key(one)): one for one in (f"run-{n}" for n in range(30))}
    readers = {node: await gateway.open(run) for node, run in runs.items()}
    sent = dict.fromkeys(runs, 0)
    health = gateway.components.health

    async def heard(node: ClusterNode, *, within: float = LATE) -> None:
        """What is published next for the execution at *node* is shown in time."""
        sent[node] += 1
        began = time.monotonic()
        await publisher.publish(runs[node], "kept", {"n": sent[node]})
        seen = await readers[node].expect("kept")
        assert seen.json()["data"]["n"] == sent[node]
        assert time.monotonic() - began < within

    def bare(at: ClusterNode, name: str) -> None:
        for run in runs.values():
            at.command("PUBLISH", f"execution:{run}", payload(name).decode())

    async with Publisher(cluster.url_of(PUBLISHER.name)) as publisher:
        for node in runs:
            await heard(node)
        # By then all that came of the new subscription has been compared with history.
        await eventually(lambda: gateway.components.canary.published_in_all > ROUNDS)
        links[here].refused = {cut.id.encode()}
        links[here].switch(here.bus_port)
        # At once, before anybody has seen it, and later.
        await heard(cut)
        await eventually(lambda: f"({cut.id[:8]})" in str(health.status().reasons))
        assert [one.only_degrades for one in health.status().problems] == [True]
        for node in runs:
            await heard(node)
        bare(cut, "lost")
        bare(other, "bare")
        for reader in readers.values():
            await reader.expect("bare")
        assert b"cluster_state:ok" in here.raw("CLUSTER", "INFO")
        assert cluster.primaries == [here, cut, other]
        links[here].refused = set()
        await eventually(gateway.healthy)
        for node in runs:
            await heard(node)
        bare(cut, "execution:completed")
    for node, reader in readers.items():
        seen = [one.event for one in await reader.rest()]
        assert seen == ["execution:completed"], seen
        async with cluster.client() as client:
            kept: Any = await client.xrange(events_key(runs[node]))
        names = [orjson.loads(fields[b"event"])["type"] for _, fields in kept]
        assert sorted(names) == sorted(["kept"] * sent[node] + ["bare", "execution:completed"])
