"""Messages that are too large: for the gateway, which drops them, and for Redis, which then drops
the gateway's subscription."""

from collections.abc import Callable
from functools import partial

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from gateway.metrics import Metrics
from gateway.publisher import Publisher
from tests.conftest import StartGateway
from tests.harness.redis_process import RedisProcess
from tests.support import eventually, producer_message

StartRedis = Callable[..., RedisProcess]
LIMIT = 2 * 1024 * 1024
LIMITED = ("--client-output-buffer-limit", f"pubsub {LIMIT} {LIMIT} 60")


async def test_a_message_above_the_buffer_limit(
    redis_process: StartRedis, start_gateway: StartGateway, caplog: pytest.LogCaptureFixture
) -> None:
    """A PUBLISH above Redis' own limit cuts the subscription each time. It comes back by itself,
    the log names the limit, and all that was recorded meanwhile arrives once and in order."""
    server = redis_process(*LIMITED)
    gateway = await start_gateway(redis_url=server.gateway_url, ownership="token")
    reader = await gateway.open("run-1")
    metrics = gateway.components.metrics
    async with Redis.from_url(server.url) as client, Publisher(server.url) as publisher:
        for cut in range(1, 4):
            before = metrics.feed_connections
            for number in range(5):
                await publisher.publish("run-1", "step:started", {"number": f"{cut}-{number}"})
                if number == 2:
                    await client.publish("execution:stranger", b"x" * (LIMIT + 1))
            await eventually(partial(_above, metrics, before))
        await eventually(gateway.healthy)
        await client.publish("execution:run-1", producer_message("execution:completed"))
    seen = await reader.rest()
    numbers = [event.json()["data"]["number"] for event in seen[:-1]]
    assert numbers == [f"{cut}-{number}" for cut in range(1, 4) for number in range(5)]
    assert seen[-1].event == "execution:completed"
    assert caplog.text.count("client-output-buffer-limit") == metrics.feed_connections - 1 == 3


def _above(metrics: Metrics, connections: int) -> bool:
    return metrics.feed_connections > connections


async def test_a_message_above_the_event_size(
    redis_process: StartRedis, start_gateway: StartGateway, caplog: pytest.LogCaptureFixture
) -> None:
    """What is too large for an event and not for Redis, and has no type, is counted, and named with
    its channel and size; the subscription stays."""
    server = redis_process(*LIMITED)
    gateway = await start_gateway(redis_url=server.gateway_url, ownership="token")
    async with Redis.from_url(server.url) as client:
        await client.publish("execution:run-1", b"x" * (LIMIT // 2 + 1))
    await eventually(lambda: gateway.components.metrics.events_dropped["malformed"] == 1)
    why = f"no type can be read: it has {LIMIT // 2 + 1} bytes"
    assert f"channel execution:run-1: {why}" in caplog.text
    assert gateway.components.metrics.feed_connections == 1


async def test_redis_can_refuse_it_instead(
    redis_process: StartRedis, start_gateway: StartGateway
) -> None:
    """With proto-max-bulk-len below the limit, as `sse-gateway check` advises, the error is that of
    the one who publishes, and the subscription stays."""
    server = redis_process(*LIMITED, "--proto-max-bulk-len", str(LIMIT // 2 + 1))
    gateway = await start_gateway(redis_url=server.gateway_url, ownership="token")
    reader = await gateway.open("run-1")
    async with Redis.from_url(server.url) as client:
        # Redis answers "invalid bulk length" and closes; which of the two is seen is a race.
        with pytest.raises((ResponseError, RedisConnectionError)):
            await client.publish("execution:run-1", b"x" * (LIMIT + 1))
    async with Redis.from_url(server.url) as client:
        await client.publish("execution:run-1", producer_message("execution:completed"))
    assert [event.event for event in await reader.rest()] == ["execution:completed"]
    assert gateway.components.metrics.feed_connections == 1
