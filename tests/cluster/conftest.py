"""What tests of a cluster share."""

from collections.abc import AsyncIterator, Iterator
from itertools import count

import pytest
from redis.crc import key_slot

from gateway.contract.keys import meta_key
from tests.harness.redis_cluster import ClusterClient, ClusterNode, RedisCluster


@pytest.fixture
async def client(cluster: RedisCluster) -> AsyncIterator[ClusterClient]:
    """A client of the shared cluster."""
    async with cluster.client() as client:
        yield client


@pytest.fixture
def ids(moving: tuple[int, ClusterNode]) -> Iterator[str]:
    """Ids of executions in the slot of `moving`."""
    slot, _ = moving
    return (one for number in count() if key_slot((one := f"e{number}").encode()) == slot)


@pytest.fixture
def moving(cluster: RedisCluster) -> Iterator[tuple[int, ClusterNode]]:
    """The slot of `run-0`, and another node than its own; afterwards it is where it was."""
    slot = key_slot(meta_key("run-0").encode())
    home = cluster.owner_of_slot(slot)
    target = next(node for node in cluster.primaries if node is not home)
    yield slot, target
    for node in (home, target):
        # Where the test has begun to move it, and no more.
        node.raw("CLUSTER", "SETSLOT", slot, "STABLE")
    if cluster.owner_of_slot(slot) is not home:
        cluster.begin_migration(slot, home)
        cluster.end_migration(slot, home)
