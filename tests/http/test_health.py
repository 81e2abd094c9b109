"""Health is what has just been shown: a canary that came back on the streams' own subscription."""

import time
from collections.abc import Callable

from tests.conftest import RunningGateway, StartGateway
from tests.harness.redis_process import RedisProcess
from tests.support import cancel_task, eventually, free_port, producer_message

WITHIN = 10.0
"""Seconds in which a problem, and its end, must show."""

StartRedis = Callable[..., RedisProcess]


async def becomes(gateway: RunningGateway, status: str, why: str = "") -> dict[str, str]:
    async def shows() -> dict[str, str] | None:
        _, document = await gateway.health()
        shown = document["status"] == status and why in document.get("reason", "")
        return document if shown else None

    document: dict[str, str] = await eventually(shows, WITHIN)
    return document


async def test_healthy(gateway: RunningGateway) -> None:
    """With everything in place: 200 and the contract's two words, not to be cached."""
    async with gateway.session.get(f"{gateway.url}/api/v1/sse/health") as response:
        assert response.status == 200
        assert await response.json() == {"status": "healthy", "redis": "connected"}
        assert response.headers["Cache-Control"] == "no-store"


async def test_redis_killed(start_gateway: StartGateway, redis_process: StartRedis) -> None:
    """A killed Redis shows within 10 s in words, and healthy returns within 10 s of its restart."""
    process = redis_process()
    gateway = await start_gateway(ownership="token", redis_url=process.url)
    process.kill()
    document = await becomes(gateway, "unhealthy")
    assert document["redis"] == "disconnected"
    assert "Redis cannot be reached" in document["reason"]
    assert str(process.port) not in document["reason"]
    process.start()
    await becomes(gateway, "healthy")


async def test_redis_absent_at_start(start_gateway: StartGateway) -> None:
    """Redis absent at start is no error: health says so, and the gateway goes on trying."""
    port = free_port()
    gateway = await start_gateway(
        wait=False, ownership="token", redis_url=f"redis://127.0.0.1:{port}/0"
    )
    assert (await gateway.health())[0] == 503
    process = RedisProcess(port=port)
    process.start()
    try:
        await becomes(gateway, "healthy")
    finally:
        process.clean_up()


async def test_deaf_subscription(start_gateway: StartGateway, redis_process: StartRedis) -> None:
    """Channel rights taken away while PING still answers: unhealthy within 10 s, healthy again
    within 10 s of their return."""
    process = redis_process()
    process.command("ACL", "SETUSER", "gateway", "on", ">secret", "~*", "&*", "+@all")
    url = f"redis://gateway:secret@127.0.0.1:{process.port}/0"
    gateway = await start_gateway(ownership="token", redis_url=url)
    process.command("ACL", "SETUSER", "gateway", "resetchannels")
    await becomes(gateway, "unhealthy", "NOPERM")
    assert await gateway.components.redis.ping()
    process.command("ACL", "SETUSER", "gateway", "&*")
    await becomes(gateway, "healthy")


async def test_redis_hangs(start_gateway: StartGateway, redis_process: StartRedis) -> None:
    """A Redis that hangs (SIGSTOP) shows within 10 s, and healthy returns within 10 s."""
    process = redis_process()
    gateway = await start_gateway(ownership="token", redis_url=process.url)
    process.suspend()
    document = await becomes(gateway, "unhealthy")
    assert "does not answer in time" in document["reason"]
    process.resume()
    await becomes(gateway, "healthy")


async def test_streams_outlive_redis(
    start_gateway: StartGateway, redis_process: StartRedis
) -> None:
    """Under Redis stopped, killed and restarted, open streams stay open and keep their heartbeat,
    and deliver again what is published after."""
    process = redis_process()
    gateway = await start_gateway(ownership="token", redis_url=process.url, heartbeat_seconds=0.3)
    reader = await gateway.open("run-1")
    for end in (process.stop, process.kill):
        end()
        await becomes(gateway, "unhealthy")
        for _ in range(3):
            seen = await reader.next(timeout=2)
            assert seen is not None
            assert seen.event == "heartbeat"
        process.start()
        await becomes(gateway, "healthy")
        process.command("PUBLISH", "execution:run-1", producer_message("step:started").decode())
        # This Redis keeps nothing over a restart: the reader learns that its history is gone.
        while (seen := await reader.next()) is not None and seen.event != "step:started":
            assert seen.event in ("heartbeat", "stream:reset")
    assert gateway.components.metrics.feed_connections == 3


async def test_dead_task(gateway: RunningGateway) -> None:
    """A background task that dies is unhealthy, named, though Redis is well."""

    async def dies() -> None:
        raise ZeroDivisionError("a bug")

    gateway.components.supervisor.start("example", dies())
    document = await becomes(gateway, "unhealthy")
    assert document["redis"] == "connected"
    assert "task example has died" in document["reason"]


async def test_a_regular_function_that_fails(start_gateway: StartGateway) -> None:
    """It is unhealthy, named and counted, until it succeeds again; no restart is asked for."""
    gateway = await start_gateway(ownership="token", admin_port=0)
    await becomes(gateway, "healthy")
    broken = True

    def example() -> None:
        if broken:
            raise ZeroDivisionError

    gateway.components.ticker.every(0.05, "example", example)
    document = await becomes(gateway, "unhealthy")
    assert document["redis"] == "connected"
    assert document["reason"] == "The example fails (ZeroDivisionError): see the gateway's log."
    assert gateway.components.health.stuck() is None
    async with gateway.session.get(f"{gateway.server.admin_url}/metrics") as response:
        assert 'sse_gateway_failures_total{name="example"}' in await response.text()
    broken = False
    await becomes(gateway, "healthy")


async def test_feed_that_dies(gateway: RunningGateway) -> None:
    """When the task that delivers events dies, health says so within 10 s."""
    cancel_task("feed")
    begin = time.monotonic()
    document = await becomes(gateway, "unhealthy")
    assert "task feed has died" in document["reason"]
    assert time.monotonic() - begin < WITHIN
