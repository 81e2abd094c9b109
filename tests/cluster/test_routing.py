"""Each command goes to the node of its key, also while slots move."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.crc import key_slot
from redis.exceptions import ResponseError

from gateway.bus import scripts
from gateway.bus.cluster import Cluster
from gateway.bus.connection import create_redis
from gateway.bus.node import Node
from gateway.bus.slots import read_slots, slot_of
from gateway.contract.keys import events_key, meta_key
from gateway.contract.scripts import Call, HistoryLimits, publish_call, read_call
from gateway.publisher.redis_cluster import SyncNodes
from gateway.settings.redis_url import parse_cluster_url
from tests.harness.redis_cluster import ClusterNode, RedisCluster
from tests.support import eventually

RUNS = [f"run-{number}" for number in range(12)]


@pytest.fixture
async def client(cluster: RedisCluster) -> AsyncIterator[Cluster]:
    """With the rights of a gateway."""
    async with create_redis(cluster.gateway_url, max_connections=4) as client:
        assert isinstance(client, Cluster)
        yield client


def publish(execution_id: str, key: str = "key") -> Call:
    return publish_call(
        execution_id,
        b'{"type":"step:started"}',
        channel=f"execution:{execution_id}",
        idempotency_key=key,
        terminal_type="",
        limits=HistoryLimits(),
    )


def redirections(cluster: RedisCluster) -> int:
    """How many commands the nodes have sent elsewhere."""
    info = "".join(node.raw("INFO", "errorstats").decode() for node in cluster.nodes)
    return info.count("errorstat_MOVED") + info.count("errorstat_ASK")


async def test_no_command_goes_to_a_node_that_sends_it_elsewhere(
    cluster: RedisCluster, client: Cluster
) -> None:
    cluster.command("CONFIG", "RESETSTAT")
    answers = await scripts.run_all(client, [publish(one) for one in RUNS])
    assert all(isinstance(one, bytes) for one in answers)
    for one in RUNS:
        assert await client.xlen(events_key(one)) == 1
        assert cluster.owner(events_key(one)).raw("XLEN", events_key(one)) == 1
    assert len({cluster.owner(events_key(one)).port for one in RUNS}) == 3
    assert redirections(cluster) == 0


async def test_the_answers_of_all_nodes_come_in_order_and_a_refusal_is_of_one_command(
    client: Cluster,
) -> None:
    await client.set(meta_key("run-3"), "a string")
    async with client.pipeline(transaction=False) as pipeline:
        for one in RUNS:
            pipeline.hset(meta_key(one), "name", one)
            pipeline.hgetall(meta_key(one))
        answers = await pipeline.execute(raise_on_error=False)
    refused = answers[6:8]
    assert all(isinstance(one, ResponseError) for one in refused)
    expected = [{b"name": one.encode()} for one in RUNS if one != "run-3"]
    assert [one for one in answers[1::2] if not isinstance(one, Exception)] == expected


async def test_a_slot_that_has_moved_is_followed_and_its_listener_is_called(
    cluster: RedisCluster, client: Cluster, moving: tuple[int, ClusterNode]
) -> None:
    slot, target = moving
    await scripts.run(client, publish("run-0", "first"))
    heard: list[frozenset[int]] = []
    client.nodes.on_moved = heard.append
    cluster.begin_migration(slot, target)
    cluster.end_migration(slot, target)
    assert await client.xlen(events_key("run-0")) == 1
    assert heard == [frozenset([slot])]
    node = client.node_of(events_key("run-0"))
    assert node is not None
    assert node.address[1] == target.port
    # The nodes say the same as MOVED.
    await eventually(lambda: node in client.primaries() and node.id == target.id)
    assert heard == [frozenset([slot])]


async def test_the_log_says_once_how_many_slots_have_moved(
    cluster: RedisCluster, client: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether MOVED or the map of the slots has shown it, and however often."""
    source, target, _ = cluster.primaries
    names = (meta_key(f"moves-{number}") for number in itertools.count())
    keys = list(itertools.islice((one for one in names if cluster.owner(one) is source), 4))

    async def move(key: str, target: ClusterNode) -> None:
        await asyncio.to_thread(cluster.move, key_slot(key.encode()), target)

    await asyncio.gather(*(client.hget(one, "seq") for one in keys))
    try:
        for one in keys[:2]:
            await move(one, target)
            await client.hget(one, "seq")
        for one in keys[2:]:
            await move(one, target)
            await client.nodes.refresh()
    finally:
        await client.aclose()
        for one in keys:
            await move(one, source)
    lines = [one.args for one in caplog.records if "at another node now" in one.msg]
    assert sum(int(str(moved)) for line in lines if line for moved in line) == len(keys)
    assert len(lines) <= 2


async def test_a_slot_that_moves_now_serves_all_its_keys(
    cluster: RedisCluster, client: Cluster, moving: tuple[int, ClusterNode]
) -> None:
    """What is at the target already by ASK, what is not there yet at the source, and a script with
    a key that is new when the slot has moved (TRYAGAIN)."""
    slot, target = moving
    await scripts.run(client, publish("run-0", "first"))
    cluster.begin_migration(slot, target)
    cluster.migrate_keys(slot, target, [events_key("run-0").encode()])
    cluster.command("CONFIG", "RESETSTAT")
    assert await client.xlen(events_key("run-0")) == 1
    assert await client.hget(meta_key("run-0"), "seq") == b"1"
    second = asyncio.ensure_future(scripts.run(client, publish("run-0", "second")))
    await eventually(lambda: "errorstat_TRYAGAIN" in _stats(cluster))
    assert "errorstat_ASK" in _stats(cluster)
    cluster.end_migration(slot, target)
    assert (await second).endswith(b"-1")
    again = await scripts.run(client, publish("run-0", "second"))
    assert again == await second
    page = await scripts.run(client, read_call("run-0", "", 1000))
    assert len(page[10:]) == 4, page


def _stats(cluster: RedisCluster) -> str:
    return "".join(node.raw("INFO", "errorstats").decode() for node in cluster.nodes)


async def test_threads_follow_a_slot_that_moves_now(
    cluster: RedisCluster, client: Cluster, moving: tuple[int, ClusterNode]
) -> None:
    slot, target = moving
    await scripts.run(client, publish("run-0"))
    nodes = SyncNodes(parse_cluster_url(cluster.gateway_url), {"protocol": 2, "driver_info": None})

    async def ask() -> list[Any]:
        return await asyncio.to_thread(nodes.run, ("HGET", meta_key("run-0"), "seq"))

    try:
        assert await ask() == [b"1"]
        cluster.begin_migration(slot, target)
        cluster.migrate_keys(slot, target)
        assert await ask() == [b"1"]
        cluster.end_migration(slot, target)
        assert await ask() == [b"1"]
    finally:
        nodes.close()


async def test_few_nodes_are_remembered_that_serve_nothing(client: Cluster) -> None:
    """Those that were known last; the ones that serve are not forgotten."""
    await client.nodes.known()
    serving = client.primaries()
    former = [client.nodes.node(("127.0.0.1", port)) for port in range(1, 200)]
    await client.nodes.tick()

    def known() -> list[Node]:
        return [*client.nodes._nodes.values()]

    await eventually(lambda: len(known()) < 30)
    assert {*serving} < {*known()}
    assert former[-1] in known()


async def test_threads_remember_no_node_that_serves_nothing(cluster: RedisCluster) -> None:
    nodes = SyncNodes(parse_cluster_url(cluster.gateway_url), {"protocol": 2, "driver_info": None})
    try:
        for port in range(1, 20):
            nodes._pool(("127.0.0.1", port))
        nodes.run(("HGET", meta_key("run-0"), "seq"))
        assert {*nodes._pools} <= {("127.0.0.1", node.port) for node in cluster.nodes}
    finally:
        nodes.close()


async def test_one_name_of_one_node_is_enough(cluster: RedisCluster) -> None:
    """As a configuration endpoint; and a name where nothing listens does not matter."""
    node = cluster.primaries[-1]
    url = f"redis+cluster://127.0.0.1:1,localhost:{node.port}/0"
    async with create_redis(url, max_connections=1) as client:
        await asyncio.gather(*(client.set(meta_key(one), one) for one in RUNS))
        assert [await client.get(meta_key(one)) for one in RUNS] == [one.encode() for one in RUNS]


async def test_where_no_known_node_answers_the_names_in_the_url_are_asked_again(
    cluster: RedisCluster,
) -> None:
    """All nodes have been replaced meanwhile, and the name leads to new ones."""
    async with create_redis(
        f"redis+cluster://localhost:{cluster.primaries[0].port}", max_connections=1
    ) as client:
        assert isinstance(client, Cluster)
        client.nodes._learn(read_slots([[0, 16383, [b"127.0.0.1", 1, b"former"]]], ("", 0)))
        await client.set(meta_key("run-0"), "one")
        assert await client.get(meta_key("run-0")) == b"one"


def test_a_command_belongs_to_the_slot_of_its_first_key() -> None:
    name = events_key("run-0", "former")
    assert slot_of(("XLEN", name)) == key_slot(b"run-0")
    assert slot_of(("EVALSHA", "sha", 2, name.encode(), "other", "argument")) == key_slot(b"run-0")
    assert slot_of(("EVAL", "return 1", 0)) is None
    assert slot_of(("PUBLISH", name, "{}")) is None
    assert slot_of(("CONFIG GET", name)) is None


def test_a_node_without_a_name_of_its_own_is_where_it_was_asked() -> None:
    answer = [[0, 16383, [None, 6379, b"id"]], [5, 9, [b"?", 6380, b"other"], [b"a", 1, b"r"]]]
    slots = read_slots(answer, ("host", 7000))
    assert {*slots.primaries} == {("host", 6379), ("host", 6380)}
    assert [one.id if one else None for one in slots.owners[4:6]] == ["id", "other"]
