"""A gateway on a cluster: what every kind of producer publishes arrives, and is kept, wherever its
execution is; also while its slot moves."""

import asyncio
import itertools
from typing import Any

import orjson
import pytest

from gateway.bus.registry import register
from gateway.contract.acl import PUBLISHER
from gateway.contract.keys import events_key, meta_key
from gateway.publisher import Publisher, SyncPublisher
from tests.conftest import RunningGateway, StartGateway
from tests.harness.history import ids_of, read
from tests.harness.redis_cluster import ClusterClient, ClusterNode, RedisCluster
from tests.support import producer_message

RUNS = [f"run-{number}" for number in range(6)]


@pytest.fixture
async def gateway(cluster: RedisCluster, start_gateway: StartGateway) -> RunningGateway:
    return await start_gateway(ownership="registry", redis_url=cluster.gateway_url)


async def test_all_kinds_of_producers_reach_the_streams_of_all_nodes(
    cluster: RedisCluster, client: ClusterClient, gateway: RunningGateway
) -> None:
    for one in RUNS:
        await register(client, one, "acme")
    assert len({cluster.owner(events_key(one)).port for one in RUNS}) == 3
    readers = [await gateway.open(one) for one in RUNS]
    with SyncPublisher(cluster.url_of(PUBLISHER.name), min_replicas=0) as threads:
        async with Publisher(cluster.url_of(PUBLISHER.name)) as publisher:
            for number, one in enumerate(RUNS):
                await publisher.publish(one, "by:publisher", {})
                await asyncio.to_thread(threads.publish, one, "by:thread", {})
                # At any node.
                node = cluster.primaries[number % 3]
                await asyncio.to_thread(
                    node.command, "PUBLISH", f"execution:{one}", producer_message("bare").decode()
                )
    for one, reader in zip(RUNS, readers, strict=True):
        seen = await read(reader, 3)
        assert [event.event for event in seen] == ["by:publisher", "by:thread", "bare"]
        kept: Any = await client.xrange(events_key(one))
        assert [event_id.decode() for event_id, _ in kept] == ids_of(seen)
        again = await gateway.open(one)
        assert ids_of(await read(again, 3)) == ids_of(seen)
    assert (await gateway.health())[0] == 200


async def test_all_subscribe_at_the_node_with_the_smallest_id_where_none_is_named(
    cluster: RedisCluster, gateway: RunningGateway, start_gateway: StartGateway
) -> None:
    """Nodes disagree on the order of what two producers publish."""
    await start_gateway(ownership="token", redis_url=cluster.gateway_url)
    subscribed = [node.raw("PUBSUB", "NUMPAT") for node in cluster.primaries]
    clients = [node.raw("CLIENT", "LIST", "TYPE", "pubsub") for node in cluster.primaries]
    assert subscribed == [1, 0, 0]
    assert [len(one.splitlines()) for one in clients] == [2, 0, 0]


@pytest.mark.parametrize(
    "kind",
    ["bare", *(pytest.param(one, marks=pytest.mark.long) for one in ("publisher", "thread"))],
)
async def test_a_slot_that_moves_while_events_flow_loses_and_doubles_nothing(
    cluster: RedisCluster,
    client: ClusterClient,
    gateway: RunningGateway,
    moving: tuple[int, ClusterNode],
    kind: str,
) -> None:
    """Another key of the slot is moved first, then those of the execution, one after the other."""
    slot, target = moving
    await register(client, "run-0", "acme")
    await client.set(f"{meta_key('run-0')}:other", "1")
    reader = await gateway.open("run-0")
    stop = asyncio.Event()
    publishing = asyncio.create_task(publish(cluster, client, kind, stop))
    seen = await read(reader, 20)
    keys = (f"{meta_key('run-0')}:other", events_key("run-0"), meta_key("run-0"))
    await asyncio.to_thread(cluster.move, slot, target, *keys)
    seen += await read(reader, 20)
    stop.set()
    sent = await publishing
    seen += await read(reader, sent - len(seen))
    assert [number_of(event.data) for event in seen] == [*range(1, sent + 1)]
    kept: Any = await client.xrange(events_key("run-0"))
    assert [number_of(fields[b"event"]) for _, fields in kept] == [*range(1, sent + 1)]
    again = await gateway.open("run-0", Last_Event_ID=str(seen[5].id))
    assert ids_of(await read(again, sent - 6)) == ids_of(seen[6:])


async def publish(
    cluster: RedisCluster, client: ClusterClient, kind: str, stop: asyncio.Event
) -> int:
    """One event of `run-0` after the other until *stop*; returns how many."""
    url = cluster.url_of(PUBLISHER.name)
    with SyncPublisher(url) as threads:
        async with Publisher(url) as publisher:
            for number in itertools.count(1):
                if kind == "publisher":
                    await publisher.publish("run-0", "step", {"n": number})
                elif kind == "thread":
                    await asyncio.to_thread(threads.publish, "run-0", "step", {"n": number})
                else:
                    message = producer_message("step", n=number).decode()
                    await client.publish("execution:run-0", message)
                if stop.is_set():
                    return number
                await asyncio.sleep(0)
    raise AssertionError("unreachable: the numbers do not end")


def number_of(event: bytes | str) -> int:
    return int(orjson.loads(event)["data"]["n"])
