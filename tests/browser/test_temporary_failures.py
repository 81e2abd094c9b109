"""Passing trouble never ends a browser's own EventSource: it comes back by itself."""

import signal
from collections.abc import Callable

from redis.asyncio import Redis

from tests.browser.tab import Tab
from tests.conftest import StartGateway
from tests.harness.gateway_process import serving
from tests.harness.redis_process import RedisProcess
from tests.support import eventually, free_port, producer_message

MakeRedis = Callable[..., RedisProcess]


async def publish(url: str, event_type: str) -> None:
    async with Redis.from_url(url) as redis:
        await redis.publish("execution:run-1", producer_message(event_type))


async def test_redis_away_at_the_start(
    redis_process: MakeRedis, start_gateway: StartGateway, origin: str, tab: Tab
) -> None:
    """While Redis is away the page is told so inside a 200; once it is back, the EventSource has
    found its way back and gets events."""
    process = redis_process()
    process.kill()
    gateway = await start_gateway(
        wait=False,
        redis_url=process.url,
        ownership="token",
        ownership_wait_seconds=0.2,
        cors_origins=origin,
    )
    await tab.page.goto(origin)
    await tab.follow(gateway.stream_url("run-1"))
    await tab.sees("stream:closing")
    [closing] = await tab.seen()
    assert closing["document"]["reason"] == "unavailable"
    process.start()
    await tab.sees("connected")
    await publish(process.url, "step:started")
    await tab.sees("step:started")
    assert (await tab.types())[-2:] == ["connected", "step:started"]


async def test_redis_restarted(
    redis_process: MakeRedis, start_gateway: StartGateway, origin: str, tab: Tab
) -> None:
    """A stream that is open stays open while Redis is killed and started again, and goes on."""
    process = redis_process()
    gateway = await start_gateway(redis_url=process.url, ownership="token", cors_origins=origin)
    await tab.page.goto(origin)
    await tab.follow(gateway.stream_url("run-1"))
    await tab.sees("connected")
    await publish(process.url, "step:started")
    await tab.sees("step:started")
    process.kill()
    await eventually(lambda: gateway.components.subscription.problem)
    process.start()
    await gateway.components.subscription.confirmed()
    await publish(process.url, "execution:completed")
    await tab.closed()
    assert await tab.types() == ["connected", "step:started", "execution:completed"]
    assert await tab.connection_errors() == 0


async def test_gateway_restarted(redis_url: str, origin: str, tab: Tab) -> None:
    """A gateway that is stopped tells the page to come back, which it does by itself, however
    often nobody answers meanwhile."""
    settings = {
        "REDIS_URL": redis_url,
        "GATEWAY_OWNERSHIP": "token",
        "GATEWAY_CORS_ORIGINS": origin,
        "GATEWAY_PORT": str(free_port()),
        "GATEWAY_DRAIN_SECONDS": "0.1",
    }
    async with serving(**settings) as first:
        await tab.page.goto(origin)
        await tab.follow(f"{first.url}/api/v1/sse/executions/run-1/stream")
        await tab.sees("connected")
        first.signal(signal.SIGTERM)
        assert await first.ended() == 0
    assert await tab.types() == ["connected", "stream:closing"]
    async with serving(**settings):
        await tab.sees("connected", times=2)
        await publish(redis_url, "execution:completed")
        await tab.closed()
    assert (await tab.types())[2:] == ["connected", "execution:completed"]
