"""A cluster of Valkey servers, as one of Redis."""

import asyncio
from collections.abc import Callable

import pytest
from redis.crc import key_slot

from gateway.contract.acl import PUBLISHER
from gateway.contract.keys import events_key, meta_key
from gateway.publisher import Publisher, SyncPublisher
from tests.conftest import StartGateway
from tests.harness.history import payload, read
from tests.harness.redis_cluster import RedisCluster
from tests.harness.redis_process import embedded_server_program
from tests.support import eventually

pytestmark = pytest.mark.long

RUNS = [f"run-{number}" for number in range(6)]


@pytest.mark.parametrize("subscription", ["pattern", "execution"])
async def test_streams_outlast_a_moved_slot_and_both_kinds_of_failover(
    redis_cluster: Callable[..., RedisCluster], start_gateway: StartGateway
) -> None:
    """Each shows all that either kind of publisher has published, once and in order; what is only
    PUBLISHed too, where a gateway hears it."""
    cluster = redis_cluster(replicas=1, program=embedded_server_program())
    assert b"valkey" in cluster.primaries[0].raw("INFO", "server")
    gateway = await start_gateway(ownership="token", redis_url=cluster.gateway_url)
    readers = [await gateway.open(one) for one in RUNS]
    slot = key_slot(meta_key(RUNS[0]).encode())
    source = cluster.owner_of_slot(slot)
    target, other = [node for node in cluster.primaries if node is not source]
    url = cluster.url_of(PUBLISHER.name)
    numbers = iter(range(8))

    async def publish(replicas: int = 1) -> None:
        here, there = next(numbers), next(numbers)
        with SyncPublisher(url, min_replicas=replicas) as threads:
            async with Publisher(url, min_replicas=replicas) as publisher:
                for one in RUNS:
                    await publisher.publish(one, "step", {"n": here})
                    await asyncio.to_thread(threads.publish, one, "step", {"n": there})

    await publish()
    keys = events_key(RUNS[0]), meta_key(RUNS[0])
    await asyncio.to_thread(cluster.move, slot, target, *keys)
    await publish()
    await asyncio.to_thread(cluster.fail_over, other)
    await publish()
    await asyncio.to_thread(target.kill)
    await asyncio.to_thread(cluster.promoted, target.port)
    # It has no other replica.
    await publish(replicas=0)
    for reader in readers:
        seen = [event.json()["data"]["n"] for event in await read(reader, 8)]
        assert seen == [*range(8)]
    await eventually(gateway.healthy)
    if gateway.components.intake.recorder is not None:
        for one, reader in zip(RUNS, readers, strict=True):
            source.command("PUBLISH", f"execution:{one}", payload("bare").decode())
            assert (await reader.expect("bare")).id
