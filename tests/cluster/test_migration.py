"""While a slot moves, its executions are served: those that are there, and those that are new."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import combinations

import pytest
from redis.crc import key_slot
from redis.exceptions import AskError, TryAgainError

from gateway.bus import scripts
from gateway.bus.forget import forget
from gateway.contract.index import Note, index_call
from gateway.contract.index import read_call as list_call
from gateway.contract.keys import events_key, memory_key, meta_key
from gateway.contract.scripts import (
    HistoryLimits,
    read_call,
)
from tests.cluster.calls import CALLS, publish, publish_many, record, record_again, register
from tests.harness.redis_cluster import ClusterClient, ClusterNode, RedisCluster


@pytest.fixture
async def impatient(cluster: RedisCluster) -> AsyncIterator[ClusterClient]:
    """A client that gives up: what has to wait for the end of a migration is an error."""
    async with cluster.client(deadline=2.0) as client:
        yield client


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("state", ["new", "registered", "with history", "forgotten"])
async def test_each_script_is_served_while_the_slot_moves(
    cluster: RedisCluster,
    impatient: ClusterClient,
    moving: tuple[int, ClusterNode],
    ids: Iterator[str],
    state: str,
    name: str,
) -> None:
    """By the node that has the keys of the execution: the former one, or the next one."""
    slot, target = moving
    some = [next(ids), next(ids)]
    for one in some:
        if state != "new":
            await scripts.run(impatient, register(one))
        if state == "with history":
            await scripts.run(impatient, publish(one, "first"))
        if state == "forgotten":
            await forget(impatient, "execution:", [one])
            assert await impatient.keys(f"sse:{{{one}}}:*") == [meta_key(one).encode()]
    cluster.begin_migration(slot, target)
    keys = cluster.owner_of_slot(slot).raw("KEYS", f"sse:{{{some[1]}}}:*")
    if keys:
        cluster.migrate_keys(slot, target, keys)
    calls = [CALLS[name](one) for one in some]
    answers = await scripts.run_all(impatient, calls)
    if state == "forgotten":
        assert all("forgotten" in str(one).lower() for one in answers), answers
    else:
        assert not any(isinstance(one, Exception) for one in answers), answers
    if state != "forgotten" and name not in ("read", "register"):
        repeated = [[b"repeated", *one[1:]] if name == "publish_many" else one for one in answers]
        assert await scripts.run_all(impatient, calls) == repeated
        cluster.end_migration(slot, target)
        assert await scripts.run_all(impatient, calls) == repeated
        events = (3 if name == "publish_many" else 1) + (state == "with history")
        assert [await impatient.xlen(events_key(one)) for one in some] == [events, events]


async def test_what_is_half_moved_is_never_made_a_second_time(
    cluster: RedisCluster,
    impatient: ClusterClient,
    moving: tuple[int, ClusterNode],
    ids: Iterator[str],
) -> None:
    """Whichever of its keys are at the next node already: nothing is written at either, and what is
    repeated when all have moved is served."""
    slot, _ = moving
    for registered_only in (True, False):
        home = cluster.owner_of_slot(slot)
        target = next(node for node in cluster.primaries if node is not home)
        parts = [
            some
            for size in (1, 2)
            for some in combinations((events_key, meta_key, memory_key), size)
        ]
        runs = {next(ids): some for some in parts}
        for one in runs:
            await scripts.run(impatient, register(one))
            if not registered_only:
                await scripts.run(impatient, record(one))
        cluster.begin_migration(slot, target)
        for one, some in runs.items():
            cluster.migrate_keys(slot, target, [make(one).encode() for make in some])
        calls = [make(one) for one in runs for make in (publish, publish_many, record_again)]
        async with cluster.client(deadline=0.1) as client:
            answers = await asyncio.gather(
                *(scripts.run(client, call) for call in calls), return_exceptions=True
            )
        assert all(isinstance(one, TryAgainError | AskError) for one in answers), answers
        cluster.end_migration(slot, target)
        for one in runs:
            assert await impatient.xlen(events_key(one)) == int(not registered_only)
            await scripts.run(impatient, publish(one))
            assert await impatient.xlen(events_key(one)) == 1 + int(not registered_only)


async def test_a_restart_waits_for_the_end_of_the_move(
    cluster: RedisCluster,
    impatient: ClusterClient,
    moving: tuple[int, ClusterNode],
    ids: Iterator[str],
) -> None:
    """The keys of the former run are new; a new execution has none."""
    slot, target = moving
    one, new = next(ids), next(ids)
    former = await scripts.run(impatient, publish(one, "first"))
    cluster.begin_migration(slot, target)
    assert await scripts.run(impatient, publish(new, restart_ttl_ms=60_000))
    restart = publish(one, restart_ttl_ms=60_000)
    async with cluster.client(deadline=0.1) as client:
        with pytest.raises((TryAgainError, AskError)):
            await scripts.run(client, restart)
    cluster.end_migration(slot, target)
    begun = await scripts.run(impatient, restart)
    assert begun.split(b"-")[0] != former.split(b"-")[0]
    assert await scripts.run(impatient, restart) == begun
    assert await impatient.xlen(events_key(one)) == 1


async def test_an_ended_run_whose_history_has_expired_is_read_while_its_slot_moves(
    cluster: RedisCluster,
    impatient: ClusterClient,
    moving: tuple[int, ClusterNode],
    ids: Iterator[str],
) -> None:
    """What is gone is nowhere; what is not gone yet may be at the other node."""
    slot, target = moving
    gone, moves = next(ids), next(ids)
    for one in (gone, moves):
        call = publish(one)
        call.arguments[7] = "execution:completed=completed"
        end = await scripts.run(impatient, call)
    await impatient.pexpire(events_key(gone), 0)
    before = await scripts.run(impatient, read_call(gone, "1-1", 1000))
    # As if it had been a while ago.
    await impatient.hset(meta_key(gone), "history_until", 1)
    cluster.begin_migration(slot, target)
    cluster.migrate_keys(slot, target, [events_key(moves).encode()])
    assert await scripts.run(impatient, read_call(gone, "1-1", 1000)) == before
    async with cluster.client(deadline=0.1) as client:
        with pytest.raises(TryAgainError):
            await scripts.run(client, read_call(moves, "", 1000))
    cluster.end_migration(slot, target)
    assert end in await scripts.run(impatient, read_call(moves, "", 1000))


async def test_a_caller_that_knows_no_memory_waits_for_the_end_of_the_move(
    cluster: RedisCluster,
    impatient: ClusterClient,
    moving: tuple[int, ClusterNode],
    ids: Iterator[str],
) -> None:
    """It has a key for each idempotency key: what it repeats is published once all the same."""
    slot, target = moving
    call = publish(one := next(ids), in_cluster=False)
    cluster.begin_migration(slot, target)
    async with cluster.client(deadline=0.1) as client:
        with pytest.raises((TryAgainError, AskError)):
            await scripts.run(client, call)
    cluster.end_migration(slot, target)
    assert await scripts.run(impatient, call) == await scripts.run(impatient, call)
    assert await impatient.xlen(events_key(one)) == 1


async def test_lists_are_served_while_their_slot_moves(
    cluster: RedisCluster, impatient: ClusterClient
) -> None:
    """Of an organization whose list is there, and of a new one."""
    names = [f"org-{number}" for number in range(2)]
    notes = [Note("registered", "run-1")]
    for name in names:
        write = index_call(name, notes, limits=HistoryLimits())
        if name == names[0]:
            await scripts.run(impatient, write)
        slot = key_slot(write.keys[0].encode())
        home = cluster.owner_of_slot(slot)
        target = next(node for node in cluster.primaries if node is not home)
        cluster.begin_migration(slot, target)
        try:
            for call in (list_call(name, 0, 0, 10), write, list_call(name, 0, 0, 10)):
                answer = await scripts.run(impatient, call)
            assert b"run-1" in answer
        finally:
            cluster.end_migration(slot, target)
            cluster.move(slot, home)
