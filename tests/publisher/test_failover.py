"""A server that has become the wrong one, and how many replicas have an event."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from gateway.bus.sentinel import MOST_AGE
from gateway.publisher import NotReplicated
from tests.delivery.backends import ReplicatedRedis, linked_replica
from tests.harness.redis_process import Masters, embedded_server_program
from tests.publisher.conftest import MakePublisher
from tests.support import eventually


@pytest.fixture
async def backend() -> AsyncIterator[ReplicatedRedis]:
    # Valkey, which counts replicas for WAIT otherwise than Redis 7.0.
    async with linked_replica(embedded_server_program()) as backend:
        yield backend


@pytest.mark.alone
async def test_a_former_master_that_lives_on_is_left(
    masters: Masters, make_publisher: MakePublisher
) -> None:
    """In a planned failover the former master takes writes for ten more seconds, and loses them.
    A publisher leaves it within a second of the sentinel's naming another one; sentinels that do
    not answer then stop no event."""
    publisher = make_publisher(masters.url)
    await publisher.publish("run-1", "a", {})
    await masters.fail_over()
    named = time.monotonic()

    async def published_at_the_second() -> bool:
        await publisher.publish("run-1", "a", {})
        return masters.second.command("EXISTS", "sse:{run-1}:events") == 1

    await eventually(published_at_the_second)
    assert time.monotonic() - named < 1
    await asyncio.to_thread(masters.sentinel.suspend)
    suspended = time.monotonic()
    while time.monotonic() - suspended < 2 * MOST_AGE:
        await publisher.publish("run-2", "a", {})
    assert masters.second.command("EXISTS", "sse:{run-2}:events") == 1
    assert masters.first.command("EXISTS", "sse:{run-2}:events") == 0


async def test_the_sentinels_are_asked_twice_a_second_at_most(
    masters: Masters, make_publisher: MakePublisher
) -> None:
    """However many events are published, and by however many tasks or threads."""
    publisher = make_publisher(masters.url)

    async def eight() -> None:
        await asyncio.gather(*[publisher.publish("run-1", "a", {}) for _ in range(8)])

    # Each new connection asks too.
    await eight()
    began, before = time.monotonic(), masters.asked()
    for _ in range(20):
        await eight()
    # The test's own questions take a few commands.
    assert masters.asked() - before <= 2 * (time.monotonic() - began) + 6


async def test_a_name_that_leads_elsewhere_is_resolved_again(
    backend: ReplicatedRedis, make_publisher: MakePublisher
) -> None:
    """A publisher whose master has become a replica behind one name, which closes nothing, goes
    where the name leads: no event is refused."""
    publisher = make_publisher(backend.url)
    await asyncio.gather(*[publisher.publish("run-1", "a", {}) for _ in range(4)])
    await backend.move()
    await asyncio.gather(*[publisher.publish("run-2", "a", {}) for _ in range(4)])
    assert backend.replica.command("XLEN", "sse:{run-2}:events") == 4


async def test_min_replicas(backend: ReplicatedRedis, make_publisher: MakePublisher) -> None:
    """With `min_replicas` an id means that so many replicas have the event. Otherwise the error
    says that it is published. With its key it is published once, and the call returns only when a
    replica has it, also where another connection has published it."""
    publisher = make_publisher(backend.url, min_replicas=1, deadline=1.6)
    await publisher.register("run-1", "acme")
    await publisher.publish("run-1", "a", {})
    assert backend.replica.command("XLEN", "sse:{run-1}:events") == 1
    backend.replica.suspend()
    await make_publisher(backend.url).publish("run-1", "a", {}, idempotency_key="k")
    with pytest.raises(NotReplicated, match="but 0 of 1 replicas have it") as caught:
        await publisher.publish("run-1", "a", {}, idempotency_key="k")
    assert caught.value.idempotency_key == "k"
    publisher.buffered.publish("run-1", "a", {}, idempotency_key="k")
    backend.replica.resume()
    await publisher.flush(5)
    assert backend.replica.command("XLEN", "sse:{run-1}:events") == 2


@pytest.mark.alone
async def test_a_former_master_that_refuses_is_left(
    masters: Masters, make_publisher: MakePublisher
) -> None:
    """With `min-replicas-to-write` a former master refuses what it gets. After each refusal the
    sentinels are asked again, so the event waits only until they name another one."""
    publisher = make_publisher(masters.url)
    await publisher.publish("run-1", "a", {})
    masters.first.command("CONFIG", "SET", "min-replicas-to-write", "1")
    publishing = asyncio.ensure_future(publisher.publish("run-1", "a", {}))
    await asyncio.wait({publishing}, timeout=0.2)
    assert not publishing.done()
    await masters.fail_over()
    named = time.monotonic()
    await publishing
    # The longest pause between two attempts is a second.
    assert time.monotonic() - named < 1.5
    assert masters.second.command("XLEN", "sse:{run-1}:events") == 1
