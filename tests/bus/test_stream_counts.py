"""An organization's streams over all instances, counted right again after every failure."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from redis.asyncio import Redis

from gateway.bus.connection import create_redis
from gateway.bus.stream_counts import StreamCounts, StreamCountTimes
from gateway.errors import RedisUnavailable
from tests.harness.redis_process import RedisProcess
from tests.harness.ticking import ticking
from tests.support import eventually

TIMES = StreamCountTimes(flush=0.02, renew=0.1, lease=1.0)


@asynccontextmanager
async def instance(url: str, limit: int = 2) -> AsyncIterator[StreamCounts]:
    """One gateway's stream counts; at the end it is as if the process had been killed."""
    redis = create_redis(url, max_connections=2)
    try:
        async with ticking() as ticker:
            yield StreamCounts(redis, ticker, limit, 1.0, TIMES)
    finally:
        await redis.aclose()
        await redis.connection_pool.disconnect()


@asynccontextmanager
async def stream(stream_counts: StreamCounts) -> AsyncIterator[bool]:
    """One more stream while the block runs, if it may."""
    entered = await stream_counts.enter("acme")
    try:
        yield entered
    finally:
        if entered:
            stream_counts.left("acme")


async def may(stream_counts: StreamCounts) -> bool:
    """Whether one more might open, without leaving it open."""
    async with stream(stream_counts) as granted:
        return granted


async def test_a_killed_instance_is_not_counted_after_its_lease(redis_url: str) -> None:
    """An instance that dies is no longer counted when its lease ends; a living one is."""
    async with instance(redis_url) as living, AsyncExitStack() as stack:
        assert await stack.enter_async_context(stream(living))
        async with instance(redis_url) as dying:
            assert await stack.enter_async_context(stream(dying))
            assert not await may(living)
        await eventually(lambda: may(living))
        async with instance(redis_url, limit=1) as strict:
            for _ in range(10):
                await asyncio.sleep(TIMES.lease / 5)
                assert not await may(strict)


async def test_counts_return_after_redis_lost_its_data(redis: Redis, redis_url: str) -> None:
    """A Redis that comes back empty knows the count again after the next renewal."""
    async with instance(redis_url, 1) as stream_counts, stream(stream_counts) as granted:
        assert granted
        await redis.flushall()

        async def is_counted() -> bool:
            return not await may(stream_counts)

        async with instance(redis_url, 1) as other:

            async def is_counted_there() -> bool:
                return not await may(other)

            await eventually(is_counted_there)
        assert await is_counted()


async def test_an_opening_waits_then_is_refused_without_redis(redis_process: object) -> None:
    """While Redis is away an opening waits, then is refused as unavailable; afterwards the count
    is right."""
    server: RedisProcess = redis_process()  # type: ignore[operator]
    async with instance(server.url, 2) as stream_counts, stream(stream_counts) as granted:
        assert granted
        server.kill()
        with pytest.raises(RedisUnavailable):
            await may(stream_counts)
        await asyncio.to_thread(server.start)

        async def is_open() -> bool:
            try:
                return await may(stream_counts)
            except RedisUnavailable:
                return False

        await eventually(is_open)
        async with stream(stream_counts) as second:
            assert second
            assert not await may(stream_counts)


async def test_a_cancelled_opening_is_not_counted(redis_url: str) -> None:
    """An opening that is cancelled leaves no trace, at whatever moment: before it is asked for, on
    the way, or in the same breath as its answer."""
    chance = random.Random(7)
    async with instance(redis_url, 1) as stream_counts:
        for _ in range(300):
            asking = asyncio.ensure_future(stream_counts.enter("acme"))
            for _ in range(chance.randrange(60)):
                await asyncio.sleep(0)
            if asking.done() and asking.result():
                stream_counts.left("acme")
            asking.cancel()
            await asyncio.wait([asking])
        await eventually(lambda: may(stream_counts))
        await eventually(lambda: len(stream_counts) == 0)


async def test_a_stopped_instance_is_not_counted(redis: Redis, redis_url: str) -> None:
    """An instance that stops in good order is counted no more at once."""
    async with instance(redis_url) as stream_counts, stream(stream_counts):
        await stream_counts.leave()
        assert [key async for key in redis.scan_iter("sse:census:*")] == []
