"""Redis that has lost its data, and gateways whose settings differ: said, counted and survived."""

from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.access import ownership
from gateway.bus import presence
from gateway.bus.connection import create_redis, primaries_of
from gateway.bus.presence import Presence
from gateway.tools.check.redis_server import check_redis
from tests.conftest import MakeSettings, RunningGateway, StartGateway
from tests.harness.redis_process import RedisProcess
from tests.support import eventually, producer_message

COMPLETED = producer_message("execution:completed")


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Presence, "rounds", 1)


async def write_down(redis: Redis) -> None:
    """run-1 is acme's, and has an event."""
    await redis.hset("sse:{run-1}:meta", "organization_id", "acme")
    await redis.publish("execution:run-1", producer_message("step:started"))


async def is_announced(redis: Redis, gateways: int = 1) -> bool:
    return bool(await redis.hlen(presence.KEY) == gateways)


async def written(redis: Redis, gateway: RunningGateway) -> bytes:
    document: Any = await redis.hget(presence.KEY, gateway.components.canary.instance)
    assert isinstance(document, bytes)
    return document


async def has_written(redis: Redis, gateway: RunningGateway, before: bytes) -> bool:
    return await written(redis, gateway) != before


async def test_a_redis_that_lost_its_data_ends_streams_for_a_reason_of_its_own(
    start_gateway: StartGateway,
    redis: Redis,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Under `registry` nobody knows any more whose the execution is. While it may be registered
    again, a tab that comes back gets a temporary refusal, and only later the final one. The log
    says how many executions were watched, and metrics count it."""
    monkeypatch.setattr(ownership, "COMES_BACK", 1.0)
    gateway = await start_gateway(
        ownership="registry", heartbeat_seconds=0.2, ownership_wait_seconds=0.5
    )
    await write_down(redis)
    reader = await gateway.open("run-1")
    await reader.expect("step:started")
    await eventually(lambda: is_announced(redis))
    await redis.flushall()
    closing = await reader.expect("stream:closing")
    assert closing.json()["reason"] == "storage_lost"
    # Of a cluster, each primary has.
    lost = len(await primaries_of(redis))
    await eventually(lambda: gateway.components.metrics.storage_losses == lost)
    assert "Redis has lost its data" in caplog.text
    assert "1 executions are watched here" in caplog.text
    assert (await gateway.get("run-1")).status == 503

    async def refused_for_good() -> bool:
        return (await gateway.get("run-1")).status == 404

    await eventually(refused_for_good)


async def test_a_registration_that_comes_back_in_time_keeps_the_stream(
    start_gateway: StartGateway, redis: Redis
) -> None:
    gateway = await start_gateway(ownership="registry", heartbeat_seconds=0.2)
    await write_down(redis)
    reader = await gateway.open("run-1")
    await reader.expect("step:started")
    await redis.flushall()
    await write_down(redis)
    await reader.expect("stream:reset")
    await reader.expect("step:started")
    await redis.publish("execution:run-1", COMPLETED)
    await reader.expect("execution:completed")


async def test_a_restart_without_settings_that_differ_warns_of_nothing(
    start_gateway: StartGateway, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """A gateway that has stopped in good order, or was killed, differs from nobody."""
    first = await start_gateway(ownership="token")
    await eventually(lambda: is_announced(redis))
    document = await written(redis, first)
    await first.server.stop()
    assert await is_announced(redis, 0)
    # As a killed one leaves it.
    await redis.hset(presence.KEY, "killed", document.replace(b'"token"', b'"registry"'))
    second = await start_gateway(ownership="token")
    await eventually(lambda: is_announced(redis, 2))
    for _ in range(2):
        before = await written(redis, second)
        await eventually(lambda: has_written(redis, second, before))  # noqa: B023 - awaited here
    assert second.components.presence.differing == 0
    assert "which must agree" not in caplog.text
    assert "lost its data" not in caplog.text


async def test_gateways_that_do_not_agree_are_named(
    start_gateway: StartGateway,
    make_settings: MakeSettings,
    redis: Redis,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """By the log, by a metric and by `check`: with recording off on one of them, each bare event
    would come twice."""
    first = await start_gateway(ownership="token")
    second = await start_gateway(ownership="token", record_bare_events=False)

    def warned(gateway: RunningGateway) -> bool:
        return gateway.components.presence.differing == 1

    await eventually(lambda: warned(first) and warned(second))
    said = "GATEWAY_RECORD_BARE_EVENTS is true here and false there"
    assert f"have other settings, which must agree: {said}" in caplog.text
    found = await check_redis(make_settings(ownership="token"))
    [finding] = [one for one in found if "has other settings" in one.sentence]
    assert said in finding.sentence
    await second.server.stop()
    await eventually(lambda: first.components.presence.differing == 0)


@pytest.mark.parametrize(
    "document", [b"\xff", b"[]", b'{"at": "x"}', b'{"at": 1, "settings": 7}', b'{"settings": {}}']
)
async def test_what_somebody_else_writes_there_differs_from_nobody(document: bytes) -> None:
    assert presence.differences({"ownership": "token"}, presence.read_document(document)[1]) == []


async def test_without_the_rights_a_gateway_works_and_check_says_what_is_missing(
    start_gateway: StartGateway, redis_server: RedisProcess, make_settings: MakeSettings
) -> None:
    """As with the rights of an earlier release, where they name keys of their own."""
    user = ("ACL", "SETUSER", "few", "reset", "on", ">x", "&*", "+@all", "~sse:{[^!]*", "~sse:c*")
    redis_server.command(*user, "~sse:{!revocations}:*", "~sse:{!ticket*")
    url = redis_server.url.replace("//", "//few:x@")
    gateway = await start_gateway(ownership="token", redis_url=url)
    reader = await gateway.open("run-1")
    async with create_redis(redis_server.url, max_connections=1) as client:
        await client.publish("execution:run-1", COMPLETED)
    await reader.expect("execution:completed")
    found = await check_redis(make_settings(ownership="token", redis_url=url))
    assert any("{!gateways}" in one.sentence for one in found)


@pytest.mark.parametrize(("kind", "level"), [("registry", "warning"), ("token", "note")])
async def test_a_missing_append_only_file_weighs_more_under_registry(
    make_settings: MakeSettings, redis: Redis, kind: str, level: str
) -> None:
    found = await check_redis(make_settings(ownership=kind))
    levels = [one.level for one in found if "append-only" in one.sentence]
    # Of a cluster, for each primary.
    assert levels == [level] * len(await primaries_of(redis))
