"""The subscription to single executions: what is heard, and that nothing is lost or doubled."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from gateway.bus import watched
from gateway.bus.canary import Canary
from gateway.bus.connection import create_redis
from gateway.bus.subscription import Subscription
from gateway.bus.watched import Watched
from gateway.contract.acl import GATEWAY
from gateway.contract.keys import live_channel
from gateway.fanout import kept
from gateway.metrics import Metrics
from tests.conftest import RunningGateway, StartGateway
from tests.harness.history import append, payload, read
from tests.harness.redis_process import RedisProcess, as_gateway
from tests.harness.tcp_proxy import TcpProxy
from tests.support import eventually


@pytest.fixture
def subscription() -> str:
    return "execution"


@pytest.fixture
async def gateway(start_gateway: StartGateway) -> RunningGateway:
    return await start_gateway(ownership="token")


class SlowSubscription(TcpProxy):
    """Lets the answers to what subscribes wait, and no others."""

    async def answer_passes(self, chunk: bytes) -> bool:
        return await super().answer_passes(chunk) if b"subscribe" in chunk else True


@pytest.fixture
async def slow(redis_server: RedisProcess) -> AsyncIterator[SlowSubscription]:
    async with SlowSubscription(redis_server.port) as proxy:
        yield proxy
        proxy.let_go()


async def subscribers(redis: Redis, execution_id: str) -> int:
    [(_, number)] = await redis.pubsub_numsub(live_channel(execution_id))
    return int(number)


async def test_what_nobody_watches_is_not_heard(gateway: RunningGateway, redis: Redis) -> None:
    """Such an event costs the gateway nothing: Redis does not send it."""
    reader = await gateway.open("run-1")
    for execution_id in ("run-2", "run-1"):
        await append(redis, execution_id)
    await redis.publish("execution:run-2", payload("bare"))
    await redis.publish("execution:run-1", payload("bare"))
    assert [one.event for one in await read(reader, 2)] == ["step:started", "bare"]
    assert gateway.components.metrics.events_received == 2
    assert await subscribers(redis, "run-2") == 0


async def test_it_is_given_up_some_time_after_its_last_reader(
    start_gateway: StartGateway, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader who comes meanwhile needs no new subscription; one who comes later gets one."""
    monkeypatch.setattr(kept, "KEPT_SECONDS", 0)
    gateway = await start_gateway(ownership="token")
    channels = watched_of(gateway)
    calls = await subscribe_calls(redis)
    for _ in range(3):
        reader = await gateway.open("run-1")
        reader.response.close()
        await eventually(lambda: not gateway.components.hub.executions)
        channels.tick()
        assert await subscribers(redis, "run-1") == 1
    assert await subscribe_calls(redis) == calls + 1
    monkeypatch.setattr(watched, "UNWATCH_AFTER", 0)
    channels.tick()

    async def gone() -> bool:
        return await subscribers(redis, "run-1") == 0

    await eventually(gone)
    assert len(channels) == 0
    reader = await gateway.open("run-1")
    await append(redis, "run-1", n=1)
    assert (await reader.expect("step:started")).json()["data"] == {"n": 1}


async def test_a_stream_waits_for_the_subscription_to_its_execution(
    start_gateway: StartGateway, slow: SlowSubscription, redis: Redis
) -> None:
    """`connected` is a promise that events arrive; what is published until Redis has confirmed is
    read from history, once."""
    gateway = await start_gateway(ownership="token", redis_url=as_gateway(slow.redis_url))
    other = await gateway.open("run-2")
    await append(redis, "run-1", n=0)
    slow.hold()
    opening = asyncio.create_task(gateway.open("run-1"))
    await asyncio.wait_for(slow.holds.wait(), 10)
    await append(redis, "run-1", n=1)
    assert not opening.done()
    assert gateway.components.subscription.problem is None
    slow.let_go()
    reader = await opening
    await append(redis, "run-1", n=2)
    await append(redis, "run-1", "execution:completed")
    seen = [one.json()["data"] for one in await reader.rest()]
    assert seen == [{"n": 0}, {"n": 1}, {"n": 2}, {}]
    other.response.close()


async def test_what_is_read_before_the_confirmation_proves_nothing(
    start_gateway: StartGateway, slow: SlowSubscription, redis: Redis
) -> None:
    """A log that knew its tip before Redis confirmed looks again, without another event."""
    gateway = await start_gateway(
        # No heartbeat finds it.
        ownership="token", redis_url=as_gateway(slow.redis_url), heartbeat_seconds=600
    )  # fmt: skip
    reader = await gateway.open("run-1")
    slow.hold()
    await redis.client_kill_filter(_type="pubsub")
    await asyncio.wait_for(slow.holds.wait(), 10)
    await append(redis, "run-1", n=1)
    slow.let_go()
    assert (await reader.expect("step:started")).json()["data"] == {"n": 1}


async def test_a_lost_connection_loses_nothing(gateway: RunningGateway, redis: Redis) -> None:
    """All that is watched is subscribed to again; each execution is repaired from history."""
    readers = [await gateway.open(f"run-{number}") for number in range(20)]
    for turn in range(3):
        await redis.client_kill_filter(_type="pubsub")
        for number in range(20):
            await append(redis, f"run-{number}", n=turn)
    for number in range(20):
        await append(redis, f"run-{number}", "execution:completed")
    for reader in readers:
        seen = [one.json()["data"] for one in await reader.rest() if one.event != "heartbeat"]
        assert seen == [{"n": 0}, {"n": 1}, {"n": 2}, {}]


async def test_a_stream_that_is_opened_while_redis_is_away(
    start_gateway: StartGateway, slow: SlowSubscription, redis: Redis, redis_server: RedisProcess
) -> None:
    """It waits, and is subscribed to with all the others."""
    gateway = await start_gateway(ownership="token", redis_url=as_gateway(slow.redis_url))
    slow.switch(None)
    await eventually(lambda: gateway.components.subscription.problem)
    opening = [asyncio.create_task(gateway.open(f"run-{number}")) for number in range(3)]
    await eventually(lambda: len(gateway.components.hub) == 3)
    slow.switch(redis_server.port)
    for number, reader in enumerate(await asyncio.gather(*opening)):
        await append(redis, f"run-{number}", n=number)
        assert (await reader.expect("step:started")).json()["data"] == {"n": number}


@asynccontextmanager
async def subscribed(url: str, channels: Watched, canary: Canary) -> AsyncIterator[Subscription]:
    async with create_redis(url, max_connections=1) as client:
        one = Subscription(client, channels, Metrics(), canary)
        task = asyncio.create_task(one.run())
        await one.confirmed()
        yield one
        task.cancel()
        await asyncio.wait([task])


async def test_thousands_watched_at_once_are_subscribed_to_in_few_commands(
    redis_server: RedisProcess, redis: Redis
) -> None:
    """At once when they come, and again after a lost connection; each is confirmed for itself."""
    canary = Canary("execution:")
    channels, confirmed = Watched("execution:", canary.instance), list[str]()
    channels.on_confirmed = confirmed.append
    names = [f"run-{number}" for number in range(5000)]
    async with subscribed(redis_server.gateway_url, channels, canary) as subscription:
        before = await subscribe_calls(redis)
        for name in names:
            channels.watch(name)
        await asyncio.gather(*(subscription.confirmed(name) for name in names))
        assert confirmed == names
        assert await subscribe_calls(redis) - before == 10
        assert subscription.problem_of("run-7") is None
        await redis.client_kill_filter(_type="pubsub")
        await eventually(lambda: len(confirmed) == 2 * len(names))
        assert sorted(confirmed[5000:]) == sorted(names)
        assert await redis.pubsub_numsub(live_channel("run-7")) == [(b"sse:{run-7}:live", 1)]


@pytest.mark.parametrize("seed", range(3))
async def test_watching_and_leaving_in_any_order(
    redis_server: RedisProcess, redis: Redis, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """However they come and go while commands are on their way, what is confirmed is heard, and
    in the end Redis has exactly what is watched."""
    monkeypatch.setattr(watched, "UNWATCH_AFTER", 0)
    choose, canary = random.Random(seed), Canary("execution:")
    channels, now = Watched("execution:", canary.instance), set[str]()
    names = [f"run-{number}" for number in range(5)]
    async with subscribed(redis_server.gateway_url, channels, canary) as subscription:
        for _ in range(300):
            name = choose.choice(names)
            if name in now:
                channels.unwatch(name)
            else:
                channels.watch(name)
            now ^= {name}
            if choose.random() < 0.5:
                channels.tick()
            if choose.random() < 0.3:
                await asyncio.sleep(0)
            for one in now:
                if subscription.problem_of(one) is None and choose.random() < 0.05:
                    # Only what is sent later could end it.
                    assert await subscribers(redis, one) == 1
        for name in now:
            await subscription.confirmed(name)
        channels.tick()

        async def is_exact() -> bool:
            open_ = {one for one in names if await subscribers(redis, one)}
            return open_ == now and len(channels) == len(now)

        async def settled() -> bool:
            channels.tick()
            return await is_exact()

        await eventually(settled)


async def test_a_producer_that_publishes_elsewhere_is_named_by_health(
    start_gateway: StartGateway, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its events are found in history, late; health says so until one comes as it should, and the
    gateway stays ready, since another one could do no better."""
    monkeypatch.setattr(watched, "_UNHEARD_SECONDS", 0.1)
    gateway = await start_gateway(ownership="token", heartbeat_seconds=0.5)
    reader = await gateway.open("run-1")
    await append(redis, "run-1", n=0)
    await reader.expect("step:started")
    assert gateway.components.health.status().healthy
    await append(redis, "run-1", to="pattern", n=1)
    assert (await reader.expect("step:started")).json()["data"] == {"n": 1}
    health = gateway.components.health
    await eventually(lambda: "did not come on their own channels" in str(health.status().reasons))
    assert [one.only_degrades for one in health.status().problems] == [True]
    await append(redis, "run-1", n=2)
    await eventually(lambda: health.status().healthy)


async def test_without_the_right_to_these_channels_health_says_so_at_once(
    start_gateway: StartGateway, redis_server: RedisProcess
) -> None:
    """Not only once somebody watches."""
    redis_server.command("ACL", "SETUSER", GATEWAY.name, "resetchannels", "&execution:*")
    try:
        gateway = await start_gateway(ownership="token", wait=False)
        await eventually(lambda: "NOPERM" in str(gateway.components.subscription.problem))
    finally:
        redis_server.command("ACL", "SETUSER", GATEWAY.name, "&sse:*")
    await eventually(gateway.healthy)


async def test_what_has_no_id_of_its_history_is_dropped_and_counted(
    gateway: RunningGateway, redis: Redis
) -> None:
    """On an execution's own channel all is in history."""
    reader = await gateway.open("run-1")
    await append(redis, "run-1", n=0)
    for message in (payload("bare"), b'{"id":"9999999999999-7",' + payload("forged")[1:]):
        await redis.publish(live_channel("run-1"), message)
    await append(redis, "run-1", "execution:completed")
    assert [one.event for one in await reader.rest()] == ["step:started", "execution:completed"]
    assert gateway.components.metrics.events_dropped["malformed"] == 2


def watched_of(gateway: RunningGateway) -> Watched:
    assert isinstance(gateway.components.intake.watched, Watched)
    return gateway.components.intake.watched


async def subscribe_calls(redis: Redis) -> int:
    """Of SUBSCRIBE, by all clients of this Redis so far."""
    stats = await redis.info("commandstats")
    return int(stats.get("cmdstat_subscribe", {}).get("calls", 0))
