"""`check` finds a Redis whose failover would not happen, would be late, or would lose events."""

from collections.abc import Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.settings.redis_url import parse_sentinel_url
from gateway.tools.check.finding import Finding
from gateway.tools.check.redis_server import check_redis
from gateway.tools.check.sentinels import check_sentinels, judge_sentinel
from tests.conftest import MakeSettings
from tests.harness.redis_process import Masters, RedisProcess
from tests.support import eventually

StartRedis = Callable[..., RedisProcess]


async def found(masters: Masters, name: str = Masters.name) -> list[tuple[str, str]]:
    """Level and sentence of all that is found of the sentinel."""
    findings = await check_sentinels(parse_sentinel_url(masters.url.replace(Masters.name, name)))
    return [(str(one.level), one.sentence) for one in findings]


async def test_sentinels_that_would_not_fail_over(masters: Masters) -> None:
    """Without a replica, alone, slow, with a quorum that is never reached, for a master that they
    do not know, or away."""
    [replica, alone, slow] = await found(masters)
    assert (replica[0], "nothing can take over" in replica[1]) == ("error", True)
    assert (alone[0], "knows 1 sentinels in all" in alone[1]) == ("warning", True)
    assert (slow[0], "waits 30 s" in slow[1]) == ("warning", True)
    masters.sentinel.watch(Masters.name, masters.first.port, quorum=2, down_after_milliseconds=5000)
    [_, never] = await found(masters)
    assert (never[0], "never fail over" in never[1]) == ("error", True)
    [unknown] = await found(masters, "other")
    assert (unknown[0], "refuses" in unknown[1]) == ("error", True)
    masters.sentinel.stop()
    [away] = await found(masters)
    assert (away[0], "does not answer" in away[1]) == ("warning", True)


async def test_sentinels_are_part_of_the_check(
    masters: Masters, make_settings: MakeSettings
) -> None:
    """Where REDIS_URL names them."""
    findings = await check_redis(make_settings(redis_url=masters.url))
    assert {"Sentinels", "Redis"} <= {one.about for one in findings}


def test_good_sentinels() -> None:
    """Three with a majority for a quorum, a replica and five seconds are as they should be."""
    state = {"num-slaves": 1, "num-other-sentinels": 2, "quorum": 2, "name": "events"}
    assert judge_sentinel("a:1", {**state, "down-after-milliseconds": 5000}) == []


@pytest.mark.parametrize(
    ("word", "level", "given", "remedy"),
    [
        (
            "appendfsync is no",
            "warning",
            ("appendonly yes", "appendfsync no"),
            "appendfsync everysec",
        ),
        ("no append-only file", "warning", (), "appendonly yes"),
    ],
)
async def test_what_a_crash_loses(
    redis_process: StartRedis,
    make_settings: MakeSettings,
    word: str,
    level: str,
    given: tuple[str, ...],
    remedy: str,
) -> None:
    """Each is gone with what its remedy says."""
    server = redis_process()
    settings = make_settings(redis_url=server.url)
    for one in given:
        server.command("CONFIG", "SET", *one.split())
    [finding] = await named(settings, word)
    assert (str(finding.level), remedy in finding.remedy) == (level, True)
    server.command("CONFIG", "SET", *remedy.split())
    assert await named(settings, word) == []


async def test_a_master_that_goes_on_without_replicas(
    redis_process: StartRedis, make_settings: MakeSettings
) -> None:
    """A master with a replica and no min-replicas-to-write; with it, where the replica is lost,
    the refusal."""
    master = redis_process()
    replica = redis_process("--replicaof", f"127.0.0.1 {master.port}")
    settings = make_settings(redis_url=master.url)
    async with Redis.from_url(master.url) as client:

        async def follows() -> Any:
            return (await client.info("replication"))["connected_slaves"]

        await eventually(follows)
        assert [str(one.level) for one in await named(settings, "min-replicas")] == ["note"]
        await client.config_set("min-replicas-to-write", 1)
        assert await named(settings, "min-replicas-to-write is 0") == []
        replica.kill()
        await eventually(lambda: refused(settings))


async def refused(settings: Any) -> bool:
    return any("too few replicas" in one.sentence for one in await check_redis(settings))


async def named(settings: Any, word: str) -> list[Finding]:
    return [one for one in await check_redis(settings) if word in one.sentence]
