"""A slot with 100,000 keys moves while all kinds of producers publish to its executions."""

import asyncio
import itertools
import os
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from threading import Event
from typing import Any

import orjson
import pytest

from gateway.bus import scripts
from gateway.contract.acl import PUBLISHER
from gateway.contract.keys import events_key, meta_key
from gateway.contract.registration import Registration
from gateway.contract.scripts import HistoryLimits
from gateway.publisher import Publisher, SyncPublisher
from tests.conftest import RunningGateway, StartGateway
from tests.harness.redis_cluster import ClusterClient, ClusterNode, RedisCluster
from tests.publish.conftest import Producer
from tests.support import eventually, producer_message

SECONDS = float(os.environ.get("MIGRATION_SECONDS", "5"))
"""Between MIGRATING and NODE."""

OTHER_KEYS = 100_000

AT_ONCE = 500
"""Keys that move in one call."""

LATE = 1.0
"""Seconds within which an event is published."""


class Producers:
    """One of each kind; `publish` returns the ids that its event was given."""

    def __init__(
        self, client: ClusterClient, gateway: RunningGateway, publisher: Publisher,
        threads: SyncPublisher,
    ) -> None:  # fmt: skip
        self._client = client
        self._http = Producer(gateway)
        self._publisher = publisher
        self._threads = threads
        self.kinds: dict[str, Callable[[str, str], Awaitable[list[str]]]] = {
            "publisher": self._asynchronous, "thread": self._thread, "http": self._single,
            "http, many": self._many, "bare": self._bare,
        }  # fmt: skip
        self.worst: dict[str, float] = defaultdict(float)
        self.given: dict[tuple[str, str, str], list[str]] = {}

    async def publish(self, kind: str, run: str, key: str) -> None:
        """Or repeat it: the ids are the same."""
        begun = time.monotonic()
        found = await self.kinds[kind](run, key)
        self.worst[kind] = max(self.worst[kind], time.monotonic() - begun)
        assert self.given.setdefault((kind, run, key), found) == found

    async def _asynchronous(self, run: str, key: str) -> list[str]:
        return [await self._publisher.publish(run, "step", {}, idempotency_key=key)]

    async def _thread(self, run: str, key: str) -> list[str]:
        found = await asyncio.to_thread(self._threads.publish, run, "step", {}, idempotency_key=key)
        return [found]

    async def _single(self, run: str, key: str) -> list[str]:
        return await self._post({"type": "step", "data": {}}, run, key)

    async def _many(self, run: str, key: str) -> list[str]:
        return await self._post([{"type": "step", "data": {}}] * 3, run, key)

    async def _post(self, body: object, run: str, key: str) -> list[str]:
        status, document = await self._http.publish(body, run, Idempotency_Key=key)
        assert status in (200, 201), document
        found: list[str] = document["ids"]
        return found

    async def _bare(self, run: str, key: str) -> list[str]:
        """Its place in history is its id."""
        message = producer_message("step", key=key)
        if ("bare", run, key) not in self.given:
            await self._client.publish(f"execution:{run}", message.decode())
        mark = b'"key":"%b"' % key.encode()

        async def recorded() -> list[str]:
            kept: Any = await self._client.xrange(events_key(run))
            return [at.decode() for at, fields in kept if mark in fields[b"event"]]

        found: list[str] = await eventually(recorded)
        return found


@asynccontextmanager
async def producers(
    cluster: RedisCluster, client: ClusterClient, gateway: RunningGateway
) -> AsyncIterator[Producers]:
    url = cluster.url_of(PUBLISHER.name)
    with SyncPublisher(url) as threads:
        async with Publisher(url) as publisher:
            yield Producers(client, gateway, publisher, threads)


def fill(node: ClusterNode, keys: int) -> None:
    node.raw(
        "EVAL",
        "for n = 1, ARGV[1] do redis.call('SET', KEYS[1] .. n, 'x') end",
        1, "{run-0}:other:", keys,
    )  # fmt: skip


def migrate(cluster: RedisCluster, slot: int, target: ClusterNode, stop: Event) -> None:
    """Move the keys of *slot* within `SECONDS`, some at a time; those of one execution together,
    as Redis 7.0 does: it lists them as they were made. Later ones have no order, and may have an
    execution half moved for long."""
    source = cluster.owner_of_slot(slot)
    steps = source.raw("CLUSTER", "COUNTKEYSINSLOT", slot) // AT_ONCE
    begun = time.monotonic()
    for step in itertools.count(1):
        keys = source.raw("CLUSTER", "GETKEYSINSLOT", slot, AT_ONCE)
        runs = {key.split(b"}")[0] for key in keys if key.startswith(b"sse:{")}
        keys += [run + b"}:" + name for run in runs for name in (b"events", b"meta", b"memory")]
        if keys:
            cluster.migrate_keys(slot, target, list(set(keys)))
        due = begun + SECONDS * min(step / steps, 1)
        if stop.wait(max(0.0, due - time.monotonic())) or step >= steps:
            return


@contextmanager
def stopped(event: Event) -> Iterator[Event]:
    yield event
    event.set()


@pytest.mark.long
@pytest.mark.alone
@pytest.mark.timeout(180)
async def test_a_slot_with_many_keys_delays_no_event(
    cluster: RedisCluster,
    client: ClusterClient,
    start_gateway: StartGateway,
    moving: tuple[int, ClusterNode],
    ids: Iterator[str],
) -> None:
    """100,000 other keys move (`MIGRATION_SECONDS`): no event of an execution with history, of one
    that is only registered or of a new one takes a second, from any producer. Nothing is lost,
    and what is repeated before, during and after the move gets its ids."""
    slot, target = moving
    gateway = await start_gateway(publish=True, ownership="token", redis_url=cluster.gateway_url)
    source = cluster.owner_of_slot(slot)
    async with producers(cluster, client, gateway) as some:
        begun, registered, new = ({kind: next(ids) for kind in some.kinds} for _ in range(3))
        for kind, run in begun.items():
            await some.publish(kind, run, "before")
        fill(source, OTHER_KEYS)
        for kind in some.kinds:
            registration = Registration(registered[kind], "acme")
            await scripts.run(client, registration.call(HistoryLimits(), in_cluster=True))
        cluster.begin_migration(slot, target)
        some.worst.clear()
        began = time.monotonic()

        async def publish_on(kind: str) -> None:
            for number in itertools.count():
                one = new[kind] if number < 5 else next(ids)
                for run in (begun[kind], registered[kind], one):
                    await some.publish(kind, run, str(number))
                    await some.publish(kind, run, str(number))
                await some.publish(kind, begun[kind], "before")
                if moved.done():
                    return

        with stopped(Event()) as stop:
            moved = asyncio.ensure_future(asyncio.to_thread(migrate, cluster, slot, target, stop))
            await asyncio.gather(*(publish_on(kind) for kind in some.kinds), moved)
        took = time.monotonic() - began
        left = source.raw("CLUSTER", "COUNTKEYSINSLOT", slot)
        during, some.worst = some.worst, defaultdict(float)
        cluster.end_migration(slot, target)
        published = list(some.given)
        for kind, run, key in published[:: len(published) // 1000 + 1]:
            await some.publish(kind, run, key)
        print(f"{took:.1f} s, {len(published)} calls, {left} keys left; at most {dict(during)} s")
        assert left < OTHER_KEYS / 10
        expected = defaultdict[str, list[str]](list)
        for (_, run, _), found in some.given.items():
            expected[run] += found
        for run, found in expected.items():
            entries: Any = await client.xrange(events_key(run))
            kept = [at.decode() for at, _ in entries]
            found.sort(key=lambda one: [int(part) for part in one.split("-")])
            # About the last thousand are kept.
            assert kept == found[-max(1000, len(kept)) :]
        assert max(during.values()) < LATE, during


@pytest.mark.long
@pytest.mark.alone
async def test_what_is_half_moved_keeps_no_other_execution_waiting(
    cluster: RedisCluster,
    client: ClusterClient,
    start_gateway: StartGateway,
    moving: tuple[int, ClusterNode],
    ids: Iterator[str],
) -> None:
    """Bare messages of an execution whose keys are at two nodes wait; those of others of its node,
    heard with them or later, are recorded within a second. Then all are there, in order."""
    slot, target = moving
    await start_gateway(ownership="token", redis_url=cluster.gateway_url)
    half, other = next(ids), next(ids)

    async def publish(*runs: str, number: int) -> None:
        for run in runs:
            await client.publish(f"execution:{run}", producer_message("step", n=number).decode())

    async def has(run: str, events: int) -> bool:
        return await client.xlen(events_key(run)) == events

    await publish(half, other, number=0)
    for run in (half, other):
        await eventually(partial(has, run, 1))
    cluster.begin_migration(slot, target)
    cluster.migrate_keys(slot, target, [meta_key(half).encode()])
    for number in range(1, 30):
        begun = time.monotonic()
        await publish(half, other, number=number)
        await eventually(partial(has, other, number + 1))
        assert time.monotonic() - begun < LATE
    assert not await has(half, 2)
    cluster.end_migration(slot, target)
    await eventually(partial(has, half, 30))
    for run in (half, other):
        kept: Any = await client.xrange(events_key(run))
        numbers = [orjson.loads(fields[b"event"])["data"]["n"] for _, fields in kept]
        assert numbers == list(range(30))


@pytest.mark.long
@pytest.mark.alone
async def test_a_stream_of_what_is_half_moved_keeps_no_other_one_waiting(
    cluster: RedisCluster,
    client: ClusterClient,
    start_gateway: StartGateway,
    moving: tuple[int, ClusterNode],
    ids: Iterator[str],
) -> None:
    """Streams of others of its node, and what is published to them by HTTP, go past it."""
    slot, target = moving
    gateway = await start_gateway(publish=True, ownership="token", redis_url=cluster.gateway_url)
    http = Producer(gateway)
    half, *others = itertools.islice(ids, 6)
    # Every node knows the scripts then.
    for run in (half, *others, *(f"run-{number}" for number in range(6))):
        assert (await http.publish({"type": "step", "data": {}}, run))[0] == 201
        if run != half:
            await (await gateway.open(run)).expect("step")
    cluster.begin_migration(slot, target)
    cluster.migrate_keys(slot, target, [meta_key(half).encode()])
    waiting = asyncio.ensure_future(gateway.open(half))
    publishing = asyncio.ensure_future(
        http.publish({"type": "step", "data": {}}, half, Idempotency_Key="key")
    )
    for run in others:
        begun = time.monotonic()
        await (await gateway.open(run)).expect("step")
        assert (await http.publish({"type": "step", "data": {}}, run))[0] == 201
        assert time.monotonic() - begun < LATE
    assert not waiting.done()
    assert not publishing.done()
    cluster.end_migration(slot, target)
    await (await waiting).expect("step")
    assert (await publishing)[0] == 201
