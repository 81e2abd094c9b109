"""What is remembered of an execution on a cluster stays bounded."""

from collections import Counter
from itertools import count
from typing import Any

import pytest

from gateway.bus import scripts
from gateway.contract.keys import events_key, memory_key, meta_key
from tests.cluster.calls import publish, record
from tests.harness.redis_cluster import ClusterClient, RedisCluster
from tests.support import eventually


@pytest.mark.long
async def test_what_is_remembered_stays_bounded(
    cluster: RedisCluster, client: ClusterClient
) -> None:
    """Fields of a hash do not expire; 20,000 idempotency keys of 50 ms never are many, and what is
    published after them removes them."""
    numbers = count()

    async def publish_100(once_ms: int) -> None:
        calls = [publish("run-0", str(next(numbers)), once_ms) for _ in range(100)]
        answers = await scripts.run_all(client, calls)
        assert all(isinstance(one, bytes) for one in answers)

    for _ in range(200):
        await publish_100(50)
        assert await client.hlen(memory_key("run-0")) < 10_000

    async def few_have_ended() -> bool:
        await publish_100(60_000)
        values: Any = await client.hvals(memory_key("run-0"))
        now = cluster.owner(memory_key("run-0")).raw("TIME")[0]
        return sum(int(one.split()[0]) < int(now) * 1000 for one in values) < len(values) / 4

    await eventually(few_have_ended)
    ttl = await client.pttl(memory_key("run-0"))
    assert ttl == pytest.approx(await client.pttl(meta_key("run-0")), abs=1000)


@pytest.mark.long
async def test_sightings_are_bounded(cluster: RedisCluster, client: ClusterClient) -> None:
    """As on a single Redis, the last 2,000 are remembered; those agree on their ids."""
    calls = [record("run-0", number, str(number).encode()) for number in range(2500)]
    for begin in range(0, 2500, 100):
        await scripts.run_all(client, calls[begin : begin + 100])
    fields: Any = await client.hkeys(memory_key("run-0"))
    counts = Counter(name.split(b":")[0] for name in fields)
    assert counts == {b"seen": 2000, b"order": 2002, b"answer": 1}
    assert await client.xlen(events_key("run-0")) >= 1000
