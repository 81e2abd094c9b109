"""Each gateway's copy of the revocations: never behind what was revoked before it was asked."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
from redis.asyncio import Redis

from gateway.access.policy import refuse_revoked
from gateway.bus.connection import create_redis
from gateway.bus.questions import Questions
from gateway.bus.revocations import (
    KINDS,
    MEMBERS_KEY,
    VERSION_KEY,
    Kind,
    Revocations,
    read_revocations,
    restore,
    revoke,
)
from gateway.errors import ExecutionNotFound, RedisUnavailable, RequestRefused
from gateway.events.sse_encoder import CloseReason
from gateway.principal import Principal
from tests.fanout.support import Stream, attached, make_hub
from tests.harness.principals import principal
from tests.harness.redis_process import RedisProcess
from tests.harness.tcp_proxy import TcpProxy
from tests.harness.ticking import ticking
from tests.support import DEADLINE, eventually

WITHIN = 2.0
"""Seconds in which a revocation is promised to hold everywhere."""

HIT = principal("run-1", "acme", subject="user-7", token_id="token-9")
OTHER = principal("run-2", "other", subject="user-8", token_id="token-10")
VALUES: dict[Kind, str] = {
    "subject": "user-7",
    "token-id": "token-9",
    "organization": "acme",
    "execution": "run-1",
}


class Gateway:
    """What a gateway has of it: a copy, and the streams that it closes."""

    def __init__(self, url: str) -> None:
        self.redis = create_redis(url, max_connections=4)
        self.revocations = Revocations(self.redis)
        self.hub, _ = make_hub()

    @contextmanager
    def streams(self, *viewers: Principal) -> Iterator[list[Stream]]:
        """Open streams of *viewers*."""
        yield [attached(self.hub, one) for one in viewers]


@asynccontextmanager
async def gateway(url: str, *, running: bool = True) -> AsyncIterator[Gateway]:
    """A gateway's part, *running* or only asked."""
    made = Gateway(url)
    try:
        async with ticking() as ticker:
            if running:
                made.revocations.watch(made.hub, ticker, Questions(made.redis, ticker))
            yield made
    finally:
        await made.revocations.stop()
        await made.redis.aclose()
        await made.redis.connection_pool.disconnect()


async def known(one: Gateway, watching: Principal = HIT) -> Kind | None:
    """Which revocation hits *watching* once the gateway has looked."""
    await one.revocations.refresh()
    return one.revocations.kind_of(watching)


@pytest.mark.alone
@pytest.mark.parametrize("kind", KINDS)
async def test_closed_on_all_gateways(kind: Kind, redis: Redis, redis_url: str) -> None:
    """Each kind ends the streams that it names within two seconds, on two gateways, and no
    others."""
    async with gateway(redis_url) as one, gateway(redis_url) as two:
        with one.streams(HIT, OTHER) as [first, other], two.streams(HIT) as [second]:
            await eventually(lambda: one.revocations.kind_of(HIT) is None)
            began = time.monotonic()
            await revoke(redis, kind, VALUES[kind], 600)
            await eventually(lambda: first.reason and second.reason)
            assert time.monotonic() - began < WITHIN
            assert first.reason == second.reason == CloseReason.REVOKED
            assert other.reason is None
            assert one.revocations.kind_of(HIT) == two.revocations.kind_of(HIT) == kind
            assert one.revocations.kind_of(OTHER) is None


async def test_values_are_compared_whole(redis: Redis, redis_url: str) -> None:
    """A value is compared whole and within its kind, whatever it is made of; and a token without
    `sub` or `jti` is hit by nothing that names one."""
    async with gateway(redis_url, running=False) as one:
        for value in ("user", "organization:acme", "USER-7", "ü ", ":"):
            await revoke(redis, "subject", value, 600)
        await redis.zadd(MEMBERS_KEY, {b"\xff": 2e9, b"subject:": 2e9, b"later-kind:acme": 2e9})
        assert await known(one) is None
        assert await known(one, principal(subject="")) is None
        for value in ("user", "organization:acme", "USER-7", "ü ", ":"):
            assert await known(one, principal(subject=value)) == "subject"


async def test_a_revocation_ends_at_its_time(redis: Redis, redis_url: str) -> None:
    """A revocation holds until its end by the gateway's own clock, then the subject is free again;
    and the set is gone with its last member."""
    async with gateway(redis_url, running=False) as one:
        await revoke(redis, "subject", "user-7", 1)
        await revoke(redis, "organization", "other", 0.5)
        assert await known(one) == "subject"
        assert await known(one, OTHER) == "organization"
        await eventually(lambda: one.revocations.kind_of(OTHER) is None)
        await eventually(lambda: one.revocations.kind_of(HIT) is None)

        async def is_gone() -> bool:
            return not await redis.exists(MEMBERS_KEY)

        await eventually(is_gone)


async def test_the_set_outlives_its_last_member(redis: Redis) -> None:
    """A shorter revocation, or an undo, does not take a longer one with it."""
    await revoke(redis, "subject", "long", 1000)
    await revoke(redis, "subject", "short", 10)
    await restore(redis, "subject", "short")
    assert 995 < await redis.ttl(MEMBERS_KEY) <= 1002
    # Two at once do not take each other's end for the latest.
    lengths = range(100, 4100, 100)
    await asyncio.gather(*(revoke(redis, "subject", f"s{n}", n) for n in lengths))
    assert len((await read_revocations(redis))["subject"]) == 41
    assert 3990 < await redis.ttl(MEMBERS_KEY) <= 4002
    assert await redis.ttl(VERSION_KEY) == -1


async def test_every_change_trims_what_is_over(redis: Redis) -> None:
    """Members that are over are taken out at the next change."""
    await redis.zadd(MEMBERS_KEY, {f"subject:{n}": time.time() - 1 for n in range(100)})
    await revoke(redis, "subject", "user-7", 600)
    assert await redis.zrange(MEMBERS_KEY, 0, -1) == [b"subject:user-7"]


async def test_an_undone_revocation_ends(redis: Redis, redis_url: str) -> None:
    """What was undone holds no longer; what was not, does."""
    async with gateway(redis_url, running=False) as one:
        await revoke(redis, "subject", "user-7", 600)
        await revoke(redis, "execution", "run-2", 600)
        assert await known(one) == "subject"
        assert await restore(redis, "subject", "user-7")
        assert not await restore(redis, "subject", "user-7")
        assert await known(one) is None
        assert await known(one, OTHER) == "execution"


async def test_the_last_revocation_counts(redis: Redis, redis_url: str) -> None:
    """Revoked again, somebody is shut out until the new end, be it later or sooner."""
    async with gateway(redis_url, running=False) as one:
        await revoke(redis, "subject", "user-7", 600)
        await revoke(redis, "subject", "user-7", 0.3)
        assert await known(one) == "subject"
        await eventually(lambda: one.revocations.kind_of(HIT) is None)


async def test_many_revocations_are_all_read(redis: Redis, redis_url: str) -> None:
    """A set of many pages is read whole."""
    members = {f"subject:s{n}": time.time() + 600 for n in range(5000)}
    await redis.zadd(MEMBERS_KEY, members)
    await revoke(redis, "subject", "user-7", 600)
    async with gateway(redis_url, running=False) as one:
        assert await known(one) == "subject"
        for number in range(5000):
            assert one.revocations.kind_of(principal(subject=f"s{number}")) == "subject"


async def test_an_unchanged_set_costs_one_get(redis: Redis, redis_url: str) -> None:
    """While nothing changes, and when hundreds ask at once, a look is one GET, not the set."""
    await revoke(redis, "subject", "user-7", 600)
    async with gateway(redis_url, running=False) as one:
        assert await known(one) == "subject"
        before = await redis.info("commandstats")
        await asyncio.gather(*(one.revocations.refresh() for _ in range(300)))
        after = await redis.info("commandstats")
        assert after["cmdstat_get"]["calls"] == before["cmdstat_get"]["calls"] + 1
        assert after["cmdstat_zscan"] == before["cmdstat_zscan"]


async def test_what_a_request_found_closes_streams(redis: Redis, redis_url: str) -> None:
    """What a request's look has found closes streams too, though the task then finds no news."""
    async with gateway(redis_url) as one:
        with one.streams(HIT) as [subscriber]:
            await one.revocations.refresh()
            await revoke(redis, "subject", "user-7", 600)
            assert await known(one) == "subject"
            await eventually(lambda: subscriber.reason, WITHIN)


async def test_a_replica_that_missed_a_change_is_read_again(redis: Redis, redis_url: str) -> None:
    """A replica that had missed a change, and then got another one, is not taken for known."""
    async with gateway(redis_url, running=False) as one:
        await revoke(redis, "subject", "user-8", 600)
        dumps = {key: await redis.dump(key) or b"" for key in (MEMBERS_KEY, VERSION_KEY)}
        await revoke(redis, "execution", "run-2", 600)
        assert await known(one, OTHER) == "subject"
        for key, dump in dumps.items():
            await redis.restore(key, 0, dump, replace=True)
        await revoke(redis, "subject", "user-7", 600)
        assert await known(one) == "subject"


async def test_known_revocations_stay_in_force_without_redis(
    redis_process: Callable[..., RedisProcess], caplog: pytest.LogCaptureFixture
) -> None:
    """While Redis is away, and when it comes back empty, what is known stays in force and the log
    says what does not hold; what is revoked after that is found again."""
    process = redis_process()

    async def command(subject: str) -> None:
        async with Redis.from_url(process.url) as client:
            await revoke(client, "subject", subject, 600)

    async with gateway(process.url) as one:
        with one.streams(OTHER) as [other]:
            await command("user-7")
            assert await known(one) == "subject"
            process.kill()
            with pytest.raises(RedisUnavailable):
                await one.revocations.refresh()
            await eventually(lambda: "Revocations cannot be read" in caplog.text)
            assert one.revocations.kind_of(HIT) == "subject"
            process.start()
            assert await known(one) == "subject"
            await command("user-8")
            await eventually(lambda: other.reason, WITHIN)
    assert caplog.text.count("Revocations cannot be read") == 1


async def test_a_read_under_way_answers_no_later_request(
    redis: Redis, redis_server: RedisProcess, redis_url: str
) -> None:
    """Who asks while a read is under way is not answered by it: Redis may have given that answer
    before the revocation was written. All of them share the next one."""
    async with (
        TcpProxy(redis_server.port) as proxy,
        gateway(proxy.redis_url, running=False) as one,
    ):
        await revoke(redis, "subject", "nobody", 600)
        assert await known(one) is None
        proxy.hold()
        first = asyncio.ensure_future(known(one))
        await asyncio.wait_for(proxy.holds.wait(), DEADLINE)
        await revoke(redis, "subject", "user-7", 600)
        later = [asyncio.ensure_future(known(one)) for _ in range(50)]
        await asyncio.sleep(0)
        looks = (await redis.info("commandstats"))["cmdstat_get"]["calls"]
        proxy.let_go()
        assert await asyncio.gather(*later) == ["subject"] * 50
        assert (await redis.info("commandstats"))["cmdstat_get"]["calls"] == looks + 1
        await first


async def test_a_cancelled_request_does_not_cancel_the_shared_read(
    redis: Redis, redis_url: str
) -> None:
    """A request that is given up does not take the read of the others with it."""
    await revoke(redis, "subject", "user-7", 600)
    async with gateway(redis_url, running=False) as one:
        first = asyncio.ensure_future(known(one))
        second = asyncio.ensure_future(known(one))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == "subject"


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("subject", 401, "token_revoked"),
        ("token-id", 401, "token_revoked"),
        ("organization", 403, "organization_revoked"),
        ("execution", 404, "execution_not_found"),
    ],
)
def test_each_kind_has_its_refusal(kind: Kind, status: int, code: str) -> None:
    """Each kind has its answer, and that of an execution is the one of an unknown one."""
    with pytest.raises(RequestRefused) as caught:
        refuse_revoked(kind)
    assert (caught.value.status, caught.value.code) == (status, code)
    if kind == "execution":
        assert str(caught.value) == str(ExecutionNotFound())
