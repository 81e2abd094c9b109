"""What operators ask: ready, live, who is watching; at an address of its own."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from gateway.bus import health, subscription
from tests.admin.support import frozen_reader
from tests.conftest import RunningGateway, StartGateway, credentials
from tests.harness.redis_process import RedisProcess
from tests.support import cancel_task, eventually, producer_message


async def ask(gateway: RunningGateway, path: str) -> tuple[int, Any]:
    async with gateway.session.get(f"{gateway.server.admin_url}{path}") as response:
        return response.status, await response.json()


@pytest.fixture
async def watched(start_gateway: StartGateway) -> RunningGateway:
    """A gateway with an admin port."""
    return await start_gateway(ownership="token", admin_port=0)


async def test_apart(watched: RunningGateway) -> None:
    """Operators' paths stand at their own address alone, and readers' paths not there."""
    for path in ("/metrics", "/ready", "/live", "/streams"):
        async with watched.session.get(watched.url + path) as response:
            assert response.status == 404
        async with watched.session.get(f"{watched.server.admin_url}{path}") as response:
            assert response.status == 200
    status, document = await ask(watched, "/api/v1/sse/health")
    assert (status, document["error"]) == (404, "not_found")


async def test_off(start_gateway: StartGateway) -> None:
    """`off` opens no second address."""
    gateway = await start_gateway(ownership="token", admin_port="off")
    assert gateway.server.admin_url is None


async def test_unix_socket(start_gateway: StartGateway, tmp_path: Path) -> None:
    """`admin_unix_socket` takes the place of the port, and is for its owner and group alone."""
    path = tmp_path / "admin.sock"
    gateway = await start_gateway(ownership="token", admin_unix_socket=path, admin_port=0)
    assert gateway.server.admin_url == f"unix:{path}"
    assert path.stat().st_mode & 0o777 == 0o660
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session,
        session.get("http://gateway/ready") as response,
    ):
        assert (response.status, await response.json()) == (200, {"status": "ready"})


async def test_redis_away(
    start_gateway: StartGateway, redis_process: Callable[..., RedisProcess]
) -> None:
    """Without Redis a gateway is not ready and says why; it is alive, as no restart would help."""
    redis = redis_process()
    gateway = await start_gateway(ownership="token", admin_port=0, redis_url=redis.url)
    assert await ask(gateway, "/ready") == (200, {"status": "ready"})
    redis.kill()

    async def not_ready() -> bool:
        status, document = await ask(gateway, "/ready")
        return status == 503 and "Redis" in document["reasons"][0]

    await eventually(not_ready)
    assert await ask(gateway, "/live") == (200, {"status": "live"})


async def test_dead_task(watched: RunningGateway) -> None:
    """A background task that has died is neither ready nor live, and is named."""
    assert await ask(watched, "/live") == (200, {"status": "live"})
    cancel_task("feed")

    async def dead() -> bool:
        status, document = await ask(watched, "/live")
        return status == 503 and "feed" in document["reasons"][0]

    await eventually(dead)
    assert (await ask(watched, "/ready"))[0] == 503


async def test_stuck_feed(
    watched: RunningGateway, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A feed that stays at one batch while Redis answers is not live; one that waits for Redis is.

    What holds it up here is no mock of a part, but one more part: a watcher of what arrives."""
    monkeypatch.setattr(health, "STUCK_AFTER", 0.2)
    held = asyncio.Event()
    recorder = watched.components.intake.recorder
    assert recorder is not None
    record = recorder.record

    async def hold(*given: Any) -> AsyncIterator[Any]:
        await held.wait()
        async for settled in record(*given):
            yield settled

    monkeypatch.setattr(recorder, "record", hold)
    await redis.publish("execution:run-1", producer_message("step:started"))

    async def stuck() -> bool:
        status, document = await ask(watched, "/live")
        return status == 503 and "one batch" in document["reasons"][0]

    await eventually(stuck)
    held.set()

    async def goes_on() -> bool:
        return (await ask(watched, "/live"))[0] == 200

    await eventually(goes_on)


async def test_feed_after_an_outage(
    start_gateway: StartGateway,
    redis_process: Callable[..., RedisProcess],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A batch that had to wait for Redis makes nobody take the feed for stuck in the moment in
    which Redis answers again, and the batch has not been tried again."""
    monkeypatch.setattr(subscription, "_PAUSES", (0.05, 0.05))
    redis = redis_process()
    gateway = await start_gateway(ownership="token", admin_port=0, redis_url=redis.url)
    components, loop = gateway.components, asyncio.get_running_loop()
    recorder = components.intake.recorder
    assert recorder is not None
    may_try = asyncio.Event()
    attempt = recorder._try
    failures = 0

    async def held(*given: Any, **named: Any) -> bool | None:
        nonlocal failures
        await may_try.wait()
        refuses_all = await attempt(*given, **named)
        if refuses_all is None:
            failures += 1
            may_try.clear()
        return refuses_all

    monkeypatch.setattr(recorder, "_try", held)
    redis.command("PUBLISH", "execution:run-1", producer_message("step:started").decode())
    await eventually(lambda: components.feed.busy_for)
    redis.kill()
    may_try.set()
    await eventually(lambda: failures)
    redis.start()
    await eventually(lambda: components.health._redis_answers)
    now = loop.time()
    with monkeypatch.context() as frozen:
        frozen.setattr(loop, "time", lambda: now)
        # The batch has waited for longer than this.
        frozen.setattr(health, "STUCK_AFTER", now - recorder.found_away_at)
        assert components.health.stuck() is None
    may_try.set()
    await eventually(lambda: components.metrics.events_received == 1)


async def test_drain(start_gateway: StartGateway) -> None:
    """From the beginning of the drain it is not ready, while its streams still end one by one."""
    gateway = await start_gateway(ownership="token", admin_port=0, drain_seconds=1.0)
    readers = [await gateway.open(f"run-{number}") for number in range(4)]
    stopping = asyncio.create_task(gateway.server.stop())

    async def draining() -> bool:
        status, document = await ask(gateway, "/ready")
        return status == 503 and "stopping" in document["reasons"][0]

    await eventually(draining)
    assert (await ask(gateway, "/streams"))[1]["open"] > 0
    for reader in readers:
        closing = await reader.expect("stream:closing")
        assert closing.json()["reason"] == "drain"
    await stopping


async def test_streams(watched: RunningGateway, redis: Redis) -> None:
    """`/streams` shows each open stream with its state, queue, lag and age; execution,
    organization and subject choose, and a number limits."""
    await watched.open("run-1")
    await watched.open("run-2")
    await watched.open("run-2", **_underscored(credentials("beta", subject="somebody")))
    await redis.publish("execution:run-2", producer_message("step:started"))

    async def delivered() -> bool:
        _, document = await ask(watched, "/streams?execution=run-2")
        return [one["events"] for one in document["streams"]] == [1, 1]

    await eventually(delivered)
    _, everything = await ask(watched, "/streams")
    assert (everything["open"], everything["matching"]) == (3, 3)
    for query, found in (
        ("execution=run-1", 1),
        ("execution=run-2", 2),
        ("organization=beta", 1),
        ("subject=somebody", 1),
        ("execution=run-1&organization=beta", 0),
    ):
        _, document = await ask(watched, f"/streams?{query}")
        assert (document["open"], document["matching"]) == (3, found), query
        assert len(document["streams"]) == found
    _, one = await ask(watched, "/streams?subject=somebody")
    [stream] = one["streams"]
    assert stream["state"] == "live"
    assert stream["organization_id"] == "beta"
    assert (stream["queue_events"], stream["queue_bytes"], stream["lag_seconds"]) == (0, 0, 0)
    assert stream["last_event_id"].endswith("-1")
    assert stream["bytes"] > 100
    assert 0 <= stream["silent_seconds"] <= stream["age_seconds"] < 15
    _, limited = await ask(watched, "/streams?limit=1")
    assert (limited["matching"], len(limited["streams"])) == (3, 1)


def _underscored(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("-", "_"): value for name, value in headers.items()}


@pytest.mark.parametrize(
    "query",
    [
        "limit=x",
        "limit=-1",
        "limit=100001",
        pytest.param(f"limit={'1' * 5000}", id="long"),
        "tenant=acme",
    ],
)
async def test_mistyped(watched: RunningGateway, query: str) -> None:
    """A parameter that means nothing is a 400 that says what does, not a list of all streams."""
    status, document = await ask(watched, f"/streams?{query}")
    assert (status, document["error"]) == (400, "malformed_request")


async def test_slow_reader(start_gateway: StartGateway, redis: Redis) -> None:
    """A reader that does not read shows with what waits for it and for how long it has been
    behind."""
    gateway = await start_gateway(
        ownership="token", admin_port=0, send_buffer_bytes=4096, write_timeout_seconds=60
    )
    await frozen_reader(gateway, redis)

    async def behind() -> bool:
        await redis.publish("execution:run-1", producer_message("log", text="x" * 400_000))
        _, document = await ask(gateway, "/streams")
        [stream] = document["streams"]
        return bool(stream["queue_bytes"] > 0 and stream["lag_seconds"] > 0)

    await eventually(behind)
