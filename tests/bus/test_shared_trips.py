"""Questions of many executions in one round trip: what is wrong with one harms no other."""

import asyncio

import pytest
from redis.asyncio import Redis

from gateway.bus.history import History
from gateway.bus.registry import Registry, register
from gateway.contract.keys import events_key, meta_key
from gateway.errors import RedisUnavailable
from tests.harness.history import append


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
    await registry.stop()


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
    await history.stop()
