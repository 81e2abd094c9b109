"""`GATEWAY_SUBSCRIPTION=execution` on a cluster: a link to each primary, by sharded Pub/Sub."""

import asyncio
import itertools
import time
from collections.abc import Callable

import pytest

from gateway.bus.forget import forget
from gateway.contract.acl import PUBLISHER
from gateway.contract.keys import events_key, live_channel, meta_key
from gateway.publisher import Publisher, SyncPublisher
from tests.conftest import RunningGateway, StartGateway
from tests.harness.history import append, ids_of, payload, read, record
from tests.harness.redis_cluster import ClusterClient, ClusterNode, RedisCluster
from tests.harness.sse import Seen, SseReader
from tests.sets.support import of, open_set
from tests.support import DEADLINE, eventually

RUNS = [f"run-{number}" for number in range(6)]

LIST = "execution:!list:d1"

LATE = 2.0
"""Seconds within which an event is shown, whatever its slot does."""


@pytest.fixture
def subscription() -> str:
    return "execution"


@pytest.fixture
async def gateway(cluster: RedisCluster, start_gateway: StartGateway) -> RunningGateway:
    return await start_gateway(
        # No heartbeat finds what was missed.
        ownership="token", redis_url=cluster.gateway_url, recorder=False, heartbeat_seconds=600
    )  # fmt: skip


def subscribers(cluster: RedisCluster, execution_id: str) -> list[int]:
    """At each primary."""
    channel = live_channel(execution_id)
    return [node.raw("PUBSUB", "SHARDNUMSUB", channel)[1] for node in cluster.primaries]


async def test_streams_of_all_nodes_hear_what_is_watched_and_nothing_else(
    cluster: RedisCluster, gateway: RunningGateway
) -> None:
    """By publishers of both kinds, whose default is to publish for both kinds of gateway."""
    assert len({cluster.owner(meta_key(one)).port for one in RUNS}) == 3
    readers = [await gateway.open(one) for one in RUNS[:4]]
    url = cluster.url_of(PUBLISHER.name)
    with SyncPublisher(url) as threads:
        async with Publisher(url) as publisher:
            for one in RUNS:
                await publisher.publish(one, "by:publisher", {})
                await asyncio.to_thread(threads.publish, one, "by:thread", {})
    for one, reader in zip(RUNS, readers, strict=False):
        seen = await read(reader, 2)
        assert [event.event for event in seen] == ["by:publisher", "by:thread"]
        assert sum(subscribers(cluster, one)) == 1
    assert gateway.components.metrics.events_received == 8
    assert [sum(subscribers(cluster, one)) for one in RUNS[4:]] == [0, 0]
    # One connection to each node, however many executions.
    clients = [node.raw("CLIENT", "LIST", "TYPE", "pubsub") for node in cluster.primaries]
    assert [len(one.splitlines()) for one in clients] == [1, 1, 1]


@pytest.mark.long
async def test_what_is_recorded_is_handed_on(
    cluster: RedisCluster, client: ClusterClient, start_gateway: StartGateway
) -> None:
    """A recorder, which subscribes to the pattern, publishes it where its execution is."""
    gateway = await start_gateway(ownership="token", redis_url=cluster.gateway_url)
    for one in RUNS:
        reader = await gateway.open(one)
        await client.publish(f"execution:{one}", payload("bare"))
        assert (await reader.expect("bare")).id


@pytest.mark.long
async def test_a_stream_ends_when_its_execution_is_forgotten(
    cluster: RedisCluster, gateway: RunningGateway, client: ClusterClient
) -> None:
    await append(client, "run-1", n=1)
    reader = await gateway.open("run-1")
    await forget(client, "execution:", ["run-1"])
    assert [one.event for one in await reader.rest()][-1] == "stream:closing"


@pytest.mark.long
async def test_a_lost_link_loses_nothing(
    cluster: RedisCluster, gateway: RunningGateway, client: ClusterClient
) -> None:
    """Each node's own link begins again, with what is watched there."""
    readers = {one: await gateway.open(one) for one in RUNS}
    for number, node in enumerate(cluster.primaries * 2):
        node.raw("CLIENT", "KILL", "TYPE", "pubsub")
        for one in RUNS:
            await append(client, one, n=number)
    for reader in readers.values():
        seen = await read(reader, 6)
        assert [event.json()["data"]["n"] for event in seen] == [*range(6)]
    await eventually(gateway.healthy)


@pytest.mark.long
async def test_health_names_the_node_whose_canary_does_not_come_back(
    cluster: RedisCluster, gateway: RunningGateway, client: ClusterClient
) -> None:
    """Executions of the other nodes are heard all the same, and the gateway stays ready."""
    deaf = cluster.owner(meta_key("run-0"))
    [other, *_] = [one for one in RUNS if cluster.owner(meta_key(one)) is not deaf]
    reader = await gateway.open(other)
    deaf.raw("ACL", "SETUSER", "gateway", "-ssubscribe")
    try:
        deaf.raw("CLIENT", "KILL", "TYPE", "pubsub")
        named = f"({deaf.id[:8]})"
        health = gateway.components.health
        await eventually(lambda: named in str(health.status().reasons))
        assert [one.only_degrades for one in health.status().problems] == [True]
        assert gateway.components.subscription.problem_of("run-0") is not None
        assert gateway.components.subscription.problem_of(other) is None
        await append(client, other)
        await reader.expect("step:started")
    finally:
        deaf.raw("ACL", "SETUSER", "gateway", "+ssubscribe")
    await eventually(gateway.healthy)


@pytest.mark.long
async def test_changes_of_lists_are_heard_once_wherever_they_are_announced(
    cluster: RedisCluster, gateway: RunningGateway
) -> None:
    """Over one of the links; over another one where that is lost."""
    heard, watched = list[str](), gateway.components.intake.watched
    gateway.components.feed.on_list_changed = heard.append
    assert watched is not None
    confirmed = asyncio.Event()
    watched.on_list_confirmed = lambda _: confirmed.set()
    watched.watch_list("d1")

    async def announced() -> None:
        await asyncio.wait_for(confirmed.wait(), DEADLINE)
        for node in cluster.primaries:
            node.raw("PUBLISH", LIST, "1")
        await eventually(lambda: len(heard) == 3)
        heard.clear()

    await announced()
    [home] = [one for one in cluster.primaries if one.raw("PUBSUB", "NUMSUB", LIST)[1]]
    confirmed.clear()
    home.raw("CLIENT", "KILL", "TYPE", "pubsub")
    await announced()


@pytest.fixture
async def without_replicas(
    redis_cluster: Callable[..., RedisCluster], start_gateway: StartGateway
) -> tuple[RedisCluster, RunningGateway]:
    """A cluster whose lost node comes back with all it had, and a gateway that finds it alone."""
    cluster = redis_cluster(
        "--cluster-require-full-coverage", "no", "--appendonly", "yes", "--appendfsync", "always"
    )
    gateway = await start_gateway(
        ownership="token", redis_url=cluster.gateway_url, recorder=False, heartbeat_seconds=600
    )
    return cluster, gateway


@pytest.mark.long
@pytest.mark.parametrize("hangs", [False, True])
async def test_executions_of_other_nodes_go_on_while_one_is_lost(
    without_replicas: tuple[RedisCluster, RunningGateway], hangs: bool
) -> None:
    """It has no replica; its executions go on when it is back."""
    cluster, gateway = without_replicas
    lost = cluster.owner(meta_key("run-0"))
    [other, *_] = [one for one in RUNS if cluster.owner(meta_key(one)) is not lost]
    named = f"({lost.id[:8]})"
    reader, unaffected = await gateway.open("run-0"), await gateway.open(other)
    async with cluster.client() as client:
        await append(client, "run-0", n=1)
        await asyncio.to_thread(lost.suspend if hangs else lost.kill)
        health = gateway.components.health
        await eventually(lambda: named in str(health.status().reasons))
        assert all(one.only_degrades for one in health.status().problems)
        await append(client, other, n=1)
        await unaffected.expect("step:started")
        await eventually(lambda: gateway.components.subscription.problem_of("run-0"))
        assert gateway.components.subscription.problem_of(other) is None
        await asyncio.to_thread(lost.resume if hangs else lost.start)
        await eventually(gateway.healthy)
        await append(client, "run-0", n=2)
        seen = [one.json()["data"] for one in await read(reader, 2)]
        assert seen == [{"n": 1}, {"n": 2}]


@pytest.mark.long
async def test_a_set_opens_though_a_node_of_one_of_its_executions_is_lost(
    without_replicas: tuple[RedisCluster, RunningGateway],
) -> None:
    """Also with a cursor of all; that one follows when its node is back."""
    cluster, gateway = without_replicas
    lost = cluster.owner(meta_key("run-0"))
    [other, *_] = [one for one in RUNS if cluster.owner(meta_key(one)) is not lost]
    async with cluster.client() as client:
        both = ["run-0", other]
        reader, _ = await open_set(gateway, both)
        for one in both:
            await append(client, one, n=1)
        *_, last = await read(reader, 2)
        await asyncio.to_thread(lost.kill)
        await eventually(lambda: gateway.components.subscription.problem_of("run-0"))
        readers = [(await open_set(gateway, both, cursor))[0] for cursor in (last.id, None)]
        await append(client, other, n=2)
        seen = [await until(reader, other, 2) for reader in readers]
        await asyncio.to_thread(lost.start)
        await eventually(gateway.healthy)
        await append(client, "run-0", n=2)
        for some, reader in zip(seen, readers, strict=True):
            some += await until(reader, "run-0", 2)
    for one in both:
        shown = [[event.json()["data"]["n"] for event in of(some, one)] for some in seen]
        assert shown == [[2], [1, 2]]


async def until(reader: SseReader, execution_id: str, number: int) -> list[Seen]:
    """What a set shows until this event."""
    seen = await read(reader, 1)
    while of(seen[-1:], execution_id) == [] or seen[-1].json()["data"] != {"n": number}:
        seen += await read(reader, 1)
    return seen


@pytest.mark.alone
@pytest.mark.parametrize("kind", ["publisher", pytest.param("thread", marks=pytest.mark.long)])
async def test_a_slot_with_a_watched_execution_moves_while_events_flow(
    cluster: RedisCluster,
    gateway: RunningGateway,
    moving: tuple[int, ClusterNode],
    kind: str,
) -> None:
    """None is lost, none comes twice, and none is late."""
    slot, target = moving
    reader = await gateway.open("run-0")
    stop, sent = asyncio.Event(), list[float]()
    publishing = asyncio.create_task(publish(cluster, kind, stop, sent))
    at = list[float]()

    async def shown(events: int) -> list[Seen]:
        seen = []
        for _ in range(events):
            seen += await read(reader, 1)
            at.append(time.monotonic())
        return seen

    seen = await shown(10)
    await asyncio.to_thread(cluster.move, slot, target, events_key("run-0"), meta_key("run-0"))
    channel = live_channel("run-0")
    await eventually(lambda: target.raw("PUBSUB", "SHARDNUMSUB", channel)[1] == 1)
    seen += await shown(len(sent) + 20 - len(seen))
    stop.set()
    await publishing
    seen += await shown(len(sent) - len(seen))
    assert [int(event.json()["data"]["n"]) for event in seen] == [*range(1, len(sent) + 1)]
    again = await gateway.open("run-0", Last_Event_ID=str(seen[5].id))
    assert ids_of(await read(again, len(sent) - 6)) == ids_of(seen[6:])
    assert max(there - here for here, there in zip(sent, at, strict=True)) < LATE


@pytest.mark.alone
@pytest.mark.long
async def test_what_is_published_where_nobody_hears_it_is_found(
    cluster: RedisCluster,
    gateway: RunningGateway,
    client: ClusterClient,
    moving: tuple[int, ClusterNode],
) -> None:
    """By way of ASK, at the node to which the slot moves: nobody can subscribe there yet."""
    slot, target = moving

    async def recorded(number: int) -> None:
        # All keys of this script exist by then, so it runs there.
        bare = payload("bare", n=number)
        await record(client, "run-0", bare, instance="one", batch=number, live="SPUBLISH")

    reader = await gateway.open("run-0")
    await recorded(0)
    await reader.expect("bare", timeout=LATE)
    heard = gateway.components.metrics.events_received
    await asyncio.to_thread(cluster.begin_migration, slot, target)
    await asyncio.to_thread(cluster.migrate_keys, slot, target)
    for number in range(1, 4):
        await recorded(number)
        assert (await reader.expect("bare", timeout=LATE)).json()["data"] == {"n": number}
    assert gateway.components.metrics.events_received == heard
    # Nobody is to blame for it.
    assert gateway.components.health.status().healthy
    await recorded(4)
    await asyncio.to_thread(cluster.end_migration, slot, target)
    assert (await reader.expect("bare", timeout=LATE)).json()["data"] == {"n": 4}
    await eventually(lambda: gateway.components.subscription.problem_of("run-0") is None)
    await recorded(5)
    assert (await reader.expect("bare", timeout=LATE)).json()["data"] == {"n": 5}
    assert gateway.components.metrics.events_received == heard + 1


async def publish(cluster: RedisCluster, kind: str, stop: asyncio.Event, sent: list[float]) -> None:
    """One event of `run-0` every 20 ms until *stop*; notes in *sent* when each was published."""
    url = cluster.url_of(PUBLISHER.name)
    with SyncPublisher(url) as threads:
        async with Publisher(url) as publisher:
            for number in itertools.count(1):
                if kind == "publisher":
                    await publisher.publish("run-0", "step", {"n": number})
                else:
                    await asyncio.to_thread(threads.publish, "run-0", "step", {"n": number})
                sent.append(time.monotonic())
                if stop.is_set():
                    return
                await asyncio.sleep(0.02)
