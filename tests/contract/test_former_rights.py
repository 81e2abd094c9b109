"""Users with the rights that were printed before scripts called more: all works as it did."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from gateway.bus.connection import create_redis
from gateway.bus.history import History
from gateway.bus.publishing import PublishCall, Publishing
from gateway.bus.registry import register
from gateway.contract.keys import events_key, meta_key
from gateway.contract.scripts import HistoryLimits, NewEvent
from gateway.errors import Unavailable
from gateway.metrics import Metrics
from gateway.publisher import Publisher, RegistrationRefused
from gateway.tools.check.acl import check_rights
from gateway.tools.check.finding import Level
from tests.harness.history import append, ids, payload, record
from tests.harness.redis_process import PASSWORD, RedisProcess
from tests.support import DEADLINE

FORMER = {
    "gateway": "~sse:* &execution:* +eval +evalsha +exists +get +getdel +hdel +hexists +hget"
    " +hgetall +hmget +hset +hsetnx +info +llen +lpop +pexpire +psubscribe +publish"
    " +rpush +set +time +xadd +xrange +xrevrange +xtrim +zscan",
    "publisher": "~sse:{*}:meta ~sse:{*}:events ~sse:{*}:once:* &execution:* +eval +evalsha +exists"
    " +get +hexists +hget +hmget +hset +hsetnx +info +pexpire +publish +set +time +xadd +xrange"
    " +xrevrange +xtrim",
    "operator": "~sse:* &execution:* +eval +evalsha +exec +exists +expireat +get +hexists +hget"
    " +hgetall +hmget +hset +hsetnx +info +multi +pexpire +publish +set +time +watch +xadd +xrange"
    " +xrevrange +xtrim +zadd +zrange +zremrangebyscore +zscan +zscore",
}


@pytest.fixture
def urls(redis_server: RedisProcess, redis_url: str) -> dict[str, str]:
    """For each role the URL of a user with its former rights."""
    assert redis_url
    made = {}
    for role, rights in FORMER.items():
        name = f"former-{role}"
        redis_server.command(
            "ACL", "SETUSER", name, "reset", "on", f">{PASSWORD}", "resetchannels", *rights.split()
        )
        made[role] = redis_server.url_of(name)
    return made


@pytest.fixture
async def former(urls: dict[str, str]) -> AsyncIterator[Redis]:
    """A gateway's client with the former rights."""
    client = create_redis(urls["gateway"], max_connections=2)
    yield client
    await client.aclose()
    await client.connection_pool.disconnect()


async def test_recording_and_reading_work_with_former_rights(former: Redis, redis: Redis) -> None:
    """Events are recorded once and read as ever; what nobody registered is kept as it was then."""
    first, second = await record(former, "run-1", payload("a"), payload("b"), unregistered_ttl_ms=9)
    assert await ids(redis, "run-1") == [str(first), str(second)]
    assert await redis.pttl(events_key("run-1")) > 24 * 3600 * 1000
    page = await History(former).page("run-1", first)
    assert (page.cursor_status, page.first, [one.id for one in page.entries]) == (
        "valid",
        first,
        [second],
    )
    for number in range(20):
        await append(former, "run-1", limits={"max_bytes": 300}, n=number)
    assert len(await ids(redis, "run-1")) < 12


@pytest.mark.parametrize("role", ["publisher", "operator"])
async def test_registering_works_with_former_rights(
    urls: dict[str, str], redis: Redis, role: str
) -> None:
    """Registering works, is refused for another tenant, and extends what was recorded."""
    await record(redis, "run-1", payload("a"), unregistered_ttl_ms=60_000)
    assert await redis.pttl(events_key("run-1")) <= 60_000
    async with Publisher(urls[role]) as publisher:
        await publisher.register("run-1", "acme", "invoices")
        await publisher.register("run-1", "acme")
        with pytest.raises(RegistrationRefused):
            await publisher.register("run-1", "other")
        assert await publisher.publish("run-1", "step:started", {})
    assert await redis.pttl(events_key("run-1")) > 24 * 3600 * 1000
    assert await redis.hget(meta_key("run-1"), "workflow_id") == b"invoices"


async def test_restarting_works_with_former_rights(urls: dict[str, str], redis: Redis) -> None:
    """The run begins again; the history of the former one is gone, since it cannot be renamed. How
    often that happened is counted."""
    async with Publisher(urls["publisher"]) as publisher:
        await publisher.register("run-1", "acme", "invoices")
        end = await publisher.publish("run-1", "execution:failed", {})
        first = await publisher.restart("run-1")
        assert await ids(redis, "run-1") == [first]
        assert await redis.hget(meta_key("run-1"), "runs_lost") == b"1"
        await publisher.restart("run-1")
        assert await redis.hget(meta_key("run-1"), "runs_lost") == b"2"
    meta = await History(redis).meta("run-1")
    assert meta.run_of(int(end.partition("-")[0])) == ""
    assert await redis.hmget(meta_key("run-1"), "organization_id", "terminal") == [b"acme", None]
    assert {key async for key in redis.scan_iter("*former*")} == set()


async def test_check_names_the_missing_rights(former: Redis, redis: Redis) -> None:
    """`check` names what is missing, and what that costs, as a warning: the gateway runs."""
    findings = await check_rights(former, "execution:")
    commands = ("SUBSCRIBE", "ZRANGE", "XLEN", "RENAME", "PTTL")
    assert [one.level for one in findings] == [Level.WARNING] * len(commands)
    for finding, command in zip(findings, commands, strict=True):
        assert f" {command}," in finding.sentence
    assert "+pttl" in findings[-1].remedy
    assert await redis.dbsize() == 0


async def test_an_executions_own_channel_degrades_with_former_rights(
    former: Redis, redis: Redis
) -> None:
    """An event for both goes to the pattern, and what is recorded stays recorded."""
    async with redis.pubsub() as pubsub:
        await pubsub.psubscribe("*:run-1", "sse:*")
        await append(former, "run-1")
        await record(former, "run-1", payload("b"), live="PUBLISH")
        await redis.publish("execution:run-1", "end")
        heard: list[bytes] = []
        while not heard or heard[-1] != b"end":
            message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=10)
            heard += [message["data"]] if message is not None else []
    assert len(heard) == 2
    assert len(await ids(redis, "run-1")) == 2


async def test_an_event_for_its_own_channel_alone_is_refused_before_it_is_written(
    former: Redis, redis: Redis
) -> None:
    """Nobody would hear it."""
    with pytest.raises(NoPermissionError, match=r"sse:\{run-1\}:live"):
        await append(former, "run-1", to="execution")
    publishing = Publishing(former, "execution:", HistoryLimits(), Metrics(), "execution")
    with pytest.raises(Unavailable, match="Not published"):
        await publishing.publish(_call("a"))
    await publishing.trips.stop()
    assert await redis.dbsize() == 0


async def test_a_gateway_registers_with_former_rights(former: Redis, redis: Redis) -> None:
    """A gateway's own user registers too."""
    await register(former, "run-1", "acme")
    assert await redis.hget(meta_key("run-1"), "organization_id") == b"acme"


def _call(*names: str, key: str = "k", restarts: bool = False) -> PublishCall:
    """A call over HTTP with these events."""
    events = [NewEvent(payload(name), "", "", "") for name in names]
    return PublishCall("run-1", "acme", events, str(names).encode(), key, restarts=restarts)


def _publishing(client: Redis) -> Publishing:
    return Publishing(client, "execution:", HistoryLimits(), Metrics())


async def test_calls_over_http_work_with_former_rights(former: Redis, redis: Redis) -> None:
    """Events are published, a repeated call publishes nothing, and a restart loses only what is
    kept of the former run."""
    publishing = _publishing(former)
    assert await publishing.register("run-1", "acme", "invoices")
    first = await publishing.publish(_call("a", "b"))
    assert await ids(redis, "run-1") == first.ids
    assert await publishing.publish(_call("a", "b")) == (first.ids, True)
    again = await publishing.publish(_call("c", key="other", restarts=True))
    assert await ids(redis, "run-1") == again.ids
    assert await redis.hget(meta_key("run-1"), "runs_lost") == b"1"


@pytest.mark.parametrize("missing", ["-publish", "-set", "-xadd", "-pexpire", "resetchannels"])
async def test_a_call_over_http_that_lacks_a_right_writes_nothing(
    former: Redis, redis: Redis, missing: str
) -> None:
    """Neither in history nor on the channel; the answer says so, and what to do."""
    async with redis.pubsub() as pubsub:
        await pubsub.psubscribe("execution:*")
        await pubsub.get_message(timeout=DEADLINE)
        await redis.execute_command("ACL", "SETUSER", "former-gateway", missing)
        for restarts in (False, True):
            with pytest.raises(Unavailable) as refusal:
                await _publishing(former).publish(_call("a", "b", restarts=restarts))
            assert str(refusal.value).startswith("Not published: ")
            assert "grant its user the rights" in str(refusal.value)
        assert await redis.keys("sse:{run-1}*") == []
        assert await pubsub.get_message(timeout=0.05) is None
