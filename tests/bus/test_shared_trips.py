"""Questions of many executions in one round trip: what is wrong with one harms no other."""

import asyncio
from contextlib import suppress
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from gateway.access.ownership import RegistryOwnership
from gateway.access.policy import Policy
from gateway.bus.connection import create_redis
from gateway.bus.errors import REDIS_ERRORS
from gateway.bus.history import History
from gateway.bus.registry import Registry, register
from gateway.bus.revocations import Revocations
from gateway.bus.trips import Trips
from gateway.contract.keys import events_key, meta_key
from gateway.errors import ExecutionNotFound, RedisUnavailable
from gateway.principal import Identity, Principal
from tests.harness.history import append
from tests.harness.redis_process import RedisProcess
from tests.support import eventually


async def test_a_foreign_owner_is_refused_alone(redis: Redis) -> None:
    """An execution whose key is of another kind is refused, and those asked for along with it are
    answered."""
    await register(redis, "run-1", "acme")
    await redis.set(meta_key("run-2"), "somebody else's")
    registry = Registry(redis)
    owner, refused, unknown = await asyncio.gather(
        *map(registry.owner, ["run-1", "run-2", "run-3"]), return_exceptions=True
    )
    assert (owner, unknown) == ("acme", None)
    assert isinstance(refused, RedisUnavailable)


async def test_an_unreadable_history_is_refused_alone(redis: Redis) -> None:
    """A history that cannot be read is refused, and those read along with it are not."""
    first = await append(redis, "run-1")
    await redis.set(events_key("run-2"), "somebody else's")
    history = History(redis)
    page, refused, empty = await asyncio.gather(
        *(history.page(one, None) for one in ("run-1", "run-2", "run-3")), return_exceptions=True
    )
    assert not isinstance(page, BaseException)
    assert not isinstance(empty, BaseException)
    assert [entry.id for entry in page.entries] == [first]
    assert empty.entries == []
    assert isinstance(refused, RedisUnavailable)
    with pytest.raises(RedisUnavailable):
        await history.page("run-2", None)


async def test_openings_at_once_are_one_trip(redis: Redis) -> None:
    """Whose it is, what was revoked, and the first page are asked in one round trip, for all that
    open at once; another's page is not among the answers."""

    async def trips() -> int:
        # What the server has read at once, this question included.
        return int((await redis.info("stats"))["total_reads_processed"])

    for number in range(5):
        await append(redis, f"run-{number}")
        await register(redis, f"run-{number}", "acme")
    shared = Trips(redis)
    history, revocations = History(redis, shared), Revocations(redis, trips=shared)
    ownership = RegistryOwnership(Registry(redis, shared), revocations, wait=0.3)
    policy = Policy(
        cast(Any, None), cast(Any, None), revocations, ownership, 0.3, keeps_token=False
    )

    async def open_one(name: str, organization: str) -> int:
        reading: list[asyncio.Task[Any]] = []

        def read_ahead(owner: str) -> None:
            reading.append(asyncio.create_task(history.page(name, None, organization_id=owner)))

        identity = Identity("ada", frozenset([organization]), 9e9)
        try:
            await policy.admit(Principal(name, organization, identity), read_ahead=read_ahead)
        finally:
            [page] = await asyncio.gather(*reading, return_exceptions=True)
        assert not isinstance(page, BaseException)
        return len(page.entries)

    # Redis does not know the script yet, and the connection is not made.
    await open_one("run-0", "acme")
    before = await trips()
    opened = await asyncio.gather(*(open_one(f"run-{number}", "acme") for number in range(5)))
    assert opened == [1] * 5
    assert await trips() == before + 2
    with pytest.raises(ExecutionNotFound):
        await open_one("run-0", "another")
    await shared.stop()


async def test_answers_that_come_too_late_are_nobody_elses(
    redis_server: RedisProcess, redis_url: str
) -> None:
    """After a trip that was given up, the next one gets its own answers."""
    redis_server.command("MSET", "a", "1", "b", "2", "c", "3", "d", "4")
    async with create_redis(redis_url, max_connections=1, retries=0, answer_timeout=0.1) as redis:
        trips = Trips(redis)

        async def get(*names: str) -> list[Any] | None:
            with suppress(*REDIS_ERRORS):
                return list(await asyncio.gather(*[trips.ask(("GET", one)) for one in names]))
            return None

        # A tenth of a second may be too short for a busy machine.
        assert await eventually(lambda: get("a", "b")) == [b"1", b"2"]
        redis_server.command("CLIENT", "PAUSE", "1000", "ALL")
        assert await get("a", "b") is None
        assert await eventually(lambda: get("c", "d")) == [b"3", b"4"]
        await trips.stop()
