"""`sse-gateway check` against real servers: what is wrong is found, with a remedy."""

import re
from collections.abc import Callable

import orjson
import pytest
from redis.asyncio import Redis

from gateway.bus.connection import create_redis
from gateway.contract.acl import GATEWAY, ROLES, WITHOUT
from gateway.settings import Settings
from gateway.tools.check.acl import check_rights
from gateway.tools.check.configuration import check_settings
from gateway.tools.check.finding import Finding, Level, worst
from gateway.tools.check.machine import judge_files
from gateway.tools.check.redis_server import check_redis, judge_output_buffer
from tests.conftest import MakeSettings
from tests.harness.gateway_process import run
from tests.harness.redis_process import PASSWORD, RedisProcess, embedded_server_program
from tests.support import SECRET, free_port

StartRedis = Callable[..., RedisProcess]


def errors(findings: list[Finding]) -> list[str]:
    return [one.sentence for one in findings if one.level is Level.ERROR]


async def test_all_is_well(redis_server: RedisProcess, redis: Redis) -> None:
    """With the least rights nothing is wrong: status 0, findings as JSON or for people, no secret
    among them, and nothing is left behind in Redis."""
    settings = {
        "REDIS_URL": redis_server.gateway_url,
        "GATEWAY_PORT": str(free_port()),
        "GATEWAY_ADMIN_PORT": str(free_port()),
    }
    await redis.flushall()
    status, out, err = await run("check", "--json", **settings)
    document = orjson.loads(out)
    assert (status, err) == (0, ""), out
    assert document["worst"] != "error"
    assert {"Settings", "Redis", "Redis rights", "Keys", "Open files", "Addresses"} == {
        one["about"] for one in document["findings"]
    }
    shown = (await run("check", **settings))[1]
    for secret in (SECRET, PASSWORD):
        assert secret not in out + shown
    assert await redis.dbsize() == 0


async def test_wrong_settings() -> None:
    """Wrong settings are status 78 and all mistakes, as JSON too; an absent Redis is status 1."""
    status, _, err = await run("check", GATEWAY_PORT="x", GATEWAY_JWT_SECRET="short")
    assert status == 78
    assert "GATEWAY_PORT" in err
    assert "GATEWAY_JWT_SECRET" in err
    status, out, _ = await run("check", "--json", GATEWAY_PORT="x")
    assert (status, orjson.loads(out)["worst"]) == (78, "error")
    status, out, _ = await run("check", REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    assert status == 1
    assert "Redis" in out


@pytest.mark.parametrize("command", sorted(GATEWAY.commands))
async def test_every_right_is_needed(redis_server: RedisProcess, command: str) -> None:
    """Without any one of the commands that `--acl` grants, that one is named; nothing else is.
    It is a warning where the scripts do without."""
    user = f"without-{command.lower()}"
    rules = [rule for rule in GATEWAY.rules("execution:") if rule != f"+{command.lower()}"]
    redis_server.command("ACL", "SETUSER", user, "reset", "on", f">{PASSWORD}", *rules)
    client = create_redis(redis_server.url_of(user), max_connections=2)
    try:
        [finding] = await check_rights(client, "execution:")
    finally:
        await client.aclose()
        await client.connection_pool.disconnect()
        redis_server.command("ACL", "DELUSER", user)
    if command in WITHOUT:
        assert (finding.level, f" {command}, so " in finding.sentence) == (Level.WARNING, True)
    else:
        assert finding.level is Level.ERROR
        assert f"what the gateway calls: {command}." in finding.sentence
    assert f"+{command.lower()} " in finding.remedy


@pytest.mark.parametrize(
    ("rule", "word"), [("~sse:*", "keys"), ("&execution:*", "channels of executions")]
)
async def test_keys_and_channels(redis_server: RedisProcess, rule: str, word: str) -> None:
    """Without its keys or its channels, they are named."""
    rules = [one for one in GATEWAY.rules("execution:") if one != rule]
    redis_server.command("ACL", "SETUSER", "without", "reset", "on", f">{PASSWORD}", *rules)
    client = create_redis(redis_server.url_of("without"), max_connections=2)
    try:
        findings = await check_rights(client, "execution:")
    finally:
        await client.aclose()
        await client.connection_pool.disconnect()
        redis_server.command("ACL", "DELUSER", "without")
    assert any(word in sentence for sentence in errors(findings))


async def test_acl(redis_server: RedisProcess) -> None:
    """`--acl` prints a line for each role, which Redis takes as it is; also before there are any
    settings."""
    status, out, _ = await run("check", "--acl")
    assert (await run("check", "--acl", GATEWAY_JWT_SECRET=""))[:2] == (status, out)
    lines = [line for line in out.splitlines() if not line.startswith("#")]
    assert status == 0
    assert len(lines) == len(ROLES)
    for line in lines:
        words = line.replace("PASSWORD", "secret").split()
        words[2] = f"printed-{words[2]}"
        assert redis_server.command(*words) in (True, b"OK")
        redis_server.command("ACL", "DELUSER", words[2])


async def test_settings() -> None:
    """`--settings` prints every setting as it is, and no secret."""
    status, out, _ = await run(
        "check", "--settings", COLUMNS="200", GATEWAY_HEARTBEAT_SECONDS="7.25",
        REDIS_URL="redis://user:hush@localhost:6379/0",
    )  # fmt: skip
    assert status == 0
    assert "7.25" in out
    assert "GATEWAY_MAX_STREAMS_PER_ORGANIZATION" in out
    assert "hush" not in out
    assert SECRET not in out


@pytest.mark.parametrize(
    ("policy", "level"),
    [("allkeys-lru", "error"), ("volatile-ttl", "warning"), ("noeviction", "note")],
)
async def test_eviction(
    redis_process: StartRedis, make_settings: MakeSettings, policy: str, level: str
) -> None:
    """A Redis that throws away what it should keep is an error, or a warning."""
    server = redis_process("--maxmemory-policy", policy)
    findings = await check_redis(make_settings(redis_url=server.url))
    [found] = [
        one for one in findings if "maxmemory" in one.sentence or "noeviction" in one.sentence
    ]
    assert found.level == level


@pytest.mark.parametrize(
    ("hard", "soft", "event_max_bytes", "level"),
    [
        (33554432, 8388608, 1048576, "ok"),
        (33554432, 0, 1048576, "ok"),
        (0, 0, 1048576, "warning"),
        (1000000, 500000, 2000, "warning"),
        (33554432, 8388608, 1048577, "warning"),
        (33554432, 8388608, 33554432, "error"),
    ],
)
def test_output_buffer(hard: int, soft: int, event_max_bytes: int, level: str) -> None:
    """A limit that a burst of the largest events exceeds, and none at all, are warnings; one that a
    single event exceeds is an error. The limit that the remedy names is good."""
    found = judge_output_buffer(hard, soft, event_max_bytes)
    assert found.level == level
    if level != "ok":
        named = re.search(r"limit pubsub (\d+) (\d+) 60\.$", found.remedy)
        assert named is not None
        again = judge_output_buffer(int(named[1]), int(named[2]), event_max_bytes)
        assert again.level == "ok"


async def test_a_wrong_server_is_named_as_health_names_it(
    redis_process: StartRedis, make_settings: MakeSettings
) -> None:
    """A node of a cluster, of Redis and of Valkey, and a replica."""
    cluster = ("--cluster-enabled", "yes")
    for server, word in (
        (redis_process(*cluster), "Redis is a node of a cluster"),
        (
            redis_process(*cluster, program=embedded_server_program()),
            "Redis is a node of a cluster",
        ),
        (redis_process("--replicaof", "127.0.0.1 1"), "it is a replica"),
    ):
        found = errors(await check_redis(make_settings(redis_url=server.url)))
        assert any(word in sentence for sentence in found), found


async def test_largest_message(redis_process: StartRedis, make_settings: MakeSettings) -> None:
    """A Redis that takes messages above its own buffer limit is a note; with what the note says
    set, it is gone. An event size above the limit is an error."""
    server = redis_process()
    async with create_redis(server.url, max_connections=1) as client:
        found = await named(make_settings(redis_url=server.url), "proto-max-bulk-len")
        assert [one.level for one in found] == ["note"]
        setting, value = found[0].remedy.removeprefix("Set ").partition(":")[0].split()
        await client.config_set(setting, value)
        assert await named(make_settings(redis_url=server.url), "proto-max-bulk-len") == []
    settings = make_settings(redis_url=server.url, event_max_bytes=40_000_000)
    [found_of_buffer] = await named(settings, "output-buffer")
    assert found_of_buffer.level == "error"
    assert "drop the subscription of every gateway" in found_of_buffer.sentence


async def named(settings: Settings, word: str) -> list[Finding]:
    """What the check finds of *word*."""
    return [one for one in await check_redis(settings) if word in one.sentence]


@pytest.mark.parametrize(
    ("hard", "wanted", "level"),
    [(131072, 0, "ok"), (131072, 100000, "ok"), (1024, 0, "warning"), (4096, 10000, "error")],
)
def test_files(hard: int, wanted: int, level: str) -> None:
    """More streams than files are an error, few files a warning."""
    assert judge_files(hard, wanted, 64).level == level


def test_drain(make_settings: MakeSettings) -> None:
    """A drain that systemd would cut short, and heartbeats that come too seldom, are warnings."""
    assert worst(check_settings(make_settings())) is Level.OK
    assert worst(check_settings(make_settings(drain_seconds=60))) is Level.WARNING
    assert worst(check_settings(make_settings(heartbeat_seconds=120))) is Level.WARNING
