"""A server that has become the wrong one behind one name: it lives on as a replica of the new
master, closes nothing, and canaries come back from it."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.bus.connection import create_redis
from gateway.bus.server import Server
from tests.conftest import StartGateway
from tests.delivery.backends import ReplicatedRedis, linked_replica
from tests.harness.redis_process import as_gateway
from tests.support import eventually, producer_message


@pytest.fixture
async def backend() -> AsyncIterator[ReplicatedRedis]:
    async with linked_replica() as backend:
        yield backend


@pytest.mark.alone
async def test_the_gateway_goes_where_the_name_leads(
    backend: ReplicatedRedis, start_gateway: StartGateway
) -> None:
    """A gateway that only reads finds it without a write, and subscribes at the new master while
    it still reads what the old connection brings; its commands go there too."""
    url = as_gateway(backend.url)
    gateway = await start_gateway(ownership="token", redis_url=url)
    reader = await gateway.open("run-1")
    loop = asyncio.get_running_loop()
    await backend.move()
    began = loop.time()
    await eventually(lambda: gateway.components.metrics.feed_connections == 2)
    assert loop.time() - began < Server.tick_seconds + 1
    backend.replica.command("PUBLISH", "execution:run-1", producer_message("second").decode())
    await reader.expect("second")
    await eventually(gateway.healthy)
    await gateway.components.redis.set("sse:written", "here")
    assert backend.replica.command("GET", "sse:written") == b"here"
    assert gateway.components.metrics.feed_connections == 2


async def test_a_refused_write_is_tried_where_the_name_leads(backend: ReplicatedRedis) -> None:
    """READONLY makes every connection of the pool connect again, before its next command."""
    async with create_redis(backend.url, max_connections=4, retries=0) as client:
        await asyncio.gather(*[client.ping() for _ in range(4)])
        await backend.move()
        with pytest.raises(Exception, match="read only"):
            await client.set("written", "1")
        await asyncio.gather(*[client.incr("written") for _ in range(4)])
        assert backend.replica.command("GET", "written") == b"4"
