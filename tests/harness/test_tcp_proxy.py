"""The proxy loses, holds back and cuts what it should, before a real Redis."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.harness.redis_process import RedisProcess
from tests.harness.tcp_proxy import TcpProxy
from tests.support import DEADLINE


@pytest.fixture
async def proxy(redis_server: RedisProcess) -> AsyncIterator[TcpProxy]:
    async with TcpProxy(redis_server.port) as proxy:
        yield proxy


@pytest.fixture
async def client(proxy: TcpProxy, redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(proxy.redis_url, retry=Retry(NoBackoff(), 0)) as client:
        yield client


async def test_a_lost_answer_is_of_a_command_that_was_carried_out(
    proxy: TcpProxy, client: Redis, redis: Redis
) -> None:
    await client.ping()
    proxy.lose = 1
    with pytest.raises(RedisConnectionError):
        await client.set("key", 1)
    assert await redis.get("key") == b"1"
    assert await client.get("key") == b"1"


async def test_an_answer_waits_until_it_is_let_go(
    proxy: TcpProxy, client: Redis, redis: Redis
) -> None:
    await client.ping()
    proxy.hold()
    asked = asyncio.ensure_future(client.set("key", 1))
    await asyncio.wait_for(proxy.holds.wait(), DEADLINE)
    assert await redis.get("key") == b"1"
    assert not asked.done()
    proxy.let_go()
    assert await asked


async def test_a_switch_cuts_what_is_open(proxy: TcpProxy, client: Redis) -> None:
    target = proxy.target
    await client.ping()
    proxy.switch(None)
    with pytest.raises(RedisConnectionError):
        await client.ping()
    proxy.switch(target)
    assert await client.ping()
