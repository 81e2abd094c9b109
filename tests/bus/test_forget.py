"""An execution is forgotten: nothing of it is kept, and its streams end."""

import pytest
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from gateway.bus import scripts
from gateway.bus.connection import create_redis
from gateway.bus.forget import forget, forget_organization
from gateway.bus.registry import register
from gateway.contract.acl import OPERATOR
from gateway.contract.keys import meta_key
from gateway.contract.scripts import dropped_call
from gateway.publisher import Publisher, RegistrationRefused, RunForgotten
from tests.conftest import StartGateway, credentials
from tests.contract.test_former_rights import FORMER
from tests.harness.history import append, ids, payload, record
from tests.harness.redis_process import PASSWORD, RedisProcess
from tests.support import eventually, producer_message

META = meta_key("run-1")


async def keys(redis: Redis) -> set[bytes]:
    return {key async for key in redis.scan_iter("sse:{run-*")}


async def test_nothing_is_kept_and_nothing_comes_back(redis: Redis, redis_url: str) -> None:
    """Of an execution all keys go, also those of a former run; a tombstone without data refuses
    what comes late: bare messages, retries, registrations. Another execution is not touched."""
    await append(redis, "run-10")
    others = await keys(redis)
    async with Publisher(redis_url) as publisher:
        await publisher.register("run-1", "acme")
        await publisher.publish("run-1", "step:started", {}, idempotency_key="k")
        await publisher.restart("run-1")
        await record(redis, "run-1", payload("a"))
        await forget(redis, "execution:", ["run-1"])
        # A message that is no event came late.
        await scripts.run(redis, dropped_call("run-1", 1, "it has no type"))
        assert await keys(redis) == others | {META.encode()}
        kept = {name: len(digest) for name, digest in (await redis.hgetall(META)).items()}
        assert kept == {b"forgotten": 64, b"forgotten_for": 40}
        assert 0 < await redis.pttl(META) <= 24 * 3600 * 1000

        with pytest.raises(RunForgotten):
            await publisher.publish("run-1", "step:started", {}, idempotency_key="k")
        with pytest.raises(RunForgotten):
            await publisher.restart("run-1")
        publisher.buffered.publish("run-1", "step:started", {})
        await publisher.flush()
        with pytest.raises(RegistrationRefused, match="forgotten"):
            await publisher.register("run-1", "acme")
        # No other organization learns that there was an execution of this name.
        with pytest.raises(RegistrationRefused, match="another organization_id"):
            await publisher.register("run-1", "globex")
    assert await keys(redis) == others | {META.encode()}


@pytest.mark.parametrize("hears", [True, False])
async def test_streams_end(start_gateway: StartGateway, redis: Redis, *, hears: bool) -> None:
    """With the reason `forgotten`, also where the message about it was lost; then it is as unknown
    as any other, and bare messages that come late are dropped and counted. No document of it stays
    in memory, at the latest from the next poll on."""
    gateway = await start_gateway(ownership="token", heartbeat_seconds=0.2)
    await append(redis, "run-1")
    poll = f"{gateway.url}/api/v1/workflows/-/runs/run-1"
    async with gateway.session.get(poll, headers=credentials()) as response:
        assert response.status == 200
    polls = gateway.components.polls
    assert polls.used > 0
    reader = await gateway.open("run-1")
    await reader.expect("step:started")
    await forget(redis, "execution:" if hears else "elsewhere:", ["run-1"])
    closing = await reader.expect("stream:closing")
    assert closing.json()["reason"] == "forgotten"
    if not hears:
        async with gateway.session.get(poll, headers=credentials()) as response:
            assert response.status == 404
    await eventually(lambda: polls.used == 0)
    assert (await gateway.get("run-1")).status == 404
    await redis.publish("execution:run-1", producer_message("step:started"))
    dropped = gateway.components.metrics.events_dropped
    await eventually(lambda: dropped["forgotten"] == 1)
    assert await ids(redis, "run-1") == []


async def test_a_false_message_ends_no_stream(start_gateway: StartGateway, redis: Redis) -> None:
    """Who may publish on the channel can say that it was forgotten; Redis is asked."""
    gateway = await start_gateway(ownership="token")
    await append(redis, "run-1")
    reader = await gateway.open("run-1")
    await reader.expect("step:started")
    await redis.publish("execution:run-1", '{"type":"stream:forgotten"}')
    await append(redis, "run-1", "execution:completed")
    assert [one.event for one in await reader.rest()] == ["execution:completed"]


async def test_an_organization_is_forgotten(redis: Redis, redis_server: RedisProcess) -> None:
    """All that is registered for it, and nothing else, with the rights of an operator; with those
    of an earlier release nothing is written."""
    for number in range(30):
        await register(redis, f"run-{number}", "acme" if number % 2 else "other")
        await append(redis, f"run-{number}")
    before = await keys(redis)
    redis_server.command(
        "ACL", "SETUSER", "former-operator", "reset", "on", f">{PASSWORD}", "resetchannels",
        *FORMER["operator"].split(),
    )  # fmt: skip
    for user in ("former-operator", OPERATOR.name):
        client = create_redis(redis_server.url_of(user), max_connections=2)
        if user == OPERATOR.name:
            assert await forget_organization(client, "execution:", "acme") == 15
            assert await forget_organization(client, "execution:", "acme") == 0
        else:
            with pytest.raises(NoPermissionError):
                await forget_organization(client, "execution:", "acme")
            with pytest.raises(NoPermissionError):
                await forget(client, "execution:", ["run-1"])
            assert await keys(redis) == before
        await client.aclose()
        await client.connection_pool.disconnect()
    for number in range(30):
        kept = await redis.hget(meta_key(f"run-{number}"), "organization_id")
        assert kept == (None if number % 2 else b"other")
        assert len(await ids(redis, f"run-{number}")) == (number + 1) % 2
