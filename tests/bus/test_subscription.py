"""The subscription: what it does not lose when time or the network stands still."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import redis as sync
from redis.asyncio import Redis

from gateway.bus import subscription
from gateway.bus.canary import Canary
from gateway.bus.connection import create_redis
from gateway.bus.subscription import Subscription
from gateway.bus.watched import Pattern
from gateway.contract.acl import GATEWAY
from gateway.metrics import Metrics
from gateway.retry import Backoff
from tests.conftest import RunningGateway, StartGateway
from tests.harness.history import ids
from tests.harness.redis_process import RedisProcess, as_gateway
from tests.harness.tcp_proxy import TcpProxy
from tests.support import eventually, free_port, producer_message

MESSAGES = 40


class FrozenNetwork(TcpProxy):
    """A network that stands still: nothing is lost, and nothing arrives until it goes on."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.flows = asyncio.Event()
        self.flows.set()

    async def request_passes(self, chunk: bytes) -> bool:
        await self.flows.wait()
        return True

    async def answer_passes(self, chunk: bytes) -> bool:
        await self.flows.wait()
        return True


def publish(url: str, first: int) -> None:
    """Bare messages, at a Redis that can be reached."""
    with sync.Redis.from_url(url) as client:
        for number in range(first, first + MESSAGES):
            client.publish("execution:run-1", producer_message("log", n=number))


@pytest.fixture
async def network(redis_server: RedisProcess) -> AsyncIterator[FrozenNetwork]:
    async with FrozenNetwork(redis_server.port) as proxy:
        yield proxy
        proxy.flows.set()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscription, "SILENCE_LIMIT", 0.5)


async def seen(gateway: RunningGateway, count: int) -> list[tuple[str | None, int]]:
    """Id and number of the next events of run-1, for a reader that was there before."""
    [reader] = gateway.readers  # type: ignore[attr-defined]
    events = [await reader.expect("log") for _ in range(count)]
    return [(one.id, one.json()["data"]["n"]) for one in events]


async def watched(start_gateway: StartGateway, **settings: object) -> RunningGateway:
    gateway = await start_gateway(ownership="token", **settings)
    gateway.readers = [await gateway.open("run-1")]  # type: ignore[attr-defined]
    return gateway


async def test_a_gateway_that_stood_still_loses_nothing(
    start_gateway: StartGateway, redis_url: str
) -> None:
    """A process that was stopped for longer than a connection may be silent reads what waits in
    its socket, on the connection that it has."""
    gateway = await watched(start_gateway)
    before = gateway.components.metrics.feed_connections
    publish(redis_url, 0)
    # As a machine that is paused: nothing of the process runs.
    time.sleep(1.5)
    found = await seen(gateway, MESSAGES)
    assert [number for _, number in found] == list(range(MESSAGES))
    assert gateway.components.metrics.feed_connections == before


@pytest.mark.parametrize("recording", [True, False])
async def test_a_frozen_network_loses_nothing_that_is_recorded(
    start_gateway: StartGateway, network: FrozenNetwork, redis: Redis, redis_url: str,
    recording: bool,
) -> None:  # fmt: skip
    """What waited in a connection that was given up is read from it while another one has taken
    its place: recorded once, shown once. Without recording it ends with the confirmation, since
    nobody could tell what came twice."""
    gateway = await watched(
        start_gateway, redis_url=as_gateway(network.redis_url), record_bare_events=recording
    )
    before = gateway.components.metrics.feed_connections
    network.flows.clear()
    publish(redis_url, 0)
    await eventually(lambda: gateway.components.subscription.problem)
    network.flows.set()
    await eventually(lambda: gateway.components.metrics.feed_connections > before)
    publish(redis_url, MESSAGES)
    if recording:
        found = await seen(gateway, 2 * MESSAGES)
        assert sorted(number for _, number in found) == list(range(2 * MESSAGES))
        assert [event_id for event_id, _ in found] == await ids(redis, "run-1")
    else:
        numbers = [number for _, number in await seen(gateway, MESSAGES)]
        assert len(set(numbers)) == MESSAGES


async def test_the_old_connection_ends(
    start_gateway: StartGateway, network: FrozenNetwork, redis: Redis
) -> None:
    """It is read on until it has brought a canary that is younger than the new one; then there is
    one subscription again."""
    gateway = await watched(start_gateway, redis_url=as_gateway(network.redis_url))
    network.flows.clear()
    await eventually(lambda: gateway.components.subscription.problem)
    network.flows.set()
    await eventually(gateway.healthy)

    async def subscribers() -> bool:
        return len(await redis.client_list(_type="pubsub")) == 1

    await eventually(subscribers, 10)
    assert gateway.components.supervisor.failures == {}


async def test_an_outage_of_hours_does_not_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """redis-py computes 2 to the number of failures, which overflows after a thousand in a row:
    that ended the subscription for good."""
    pauses = 0

    class Counted(Backoff):
        def next(self) -> float:
            nonlocal pauses
            pauses += 1
            return super().next() / 1000

    monkeypatch.setattr(subscription, "Backoff", Counted)
    async with create_redis(f"redis://127.0.0.1:{free_port()}/0", max_connections=1) as redis:
        task = asyncio.create_task(
            Subscription(redis, Pattern("x:"), Metrics(), Canary("x:")).run()
        )
        await eventually(lambda: task.done() or pauses > 1100, 30)
        assert not task.done()
        task.cancel()
        await asyncio.wait([task])


async def test_without_the_right_to_publish_the_log_says_so(
    start_gateway: StartGateway, redis_server: RedisProcess, caplog: pytest.LogCaptureFixture
) -> None:
    """No canary comes back then: the subscription is silent, though Redis answers in time."""
    gateway = await start_gateway(ownership="token")
    redis_server.command("ACL", "SETUSER", GATEWAY.name, "-publish")
    try:
        await eventually(lambda: "The subscription is lost: " in caplog.text)
        health = gateway.components.health
        await eventually(lambda: "NOPERM" in " ".join(health.status().reasons))
    finally:
        redis_server.command("ACL", "SETUSER", GATEWAY.name, "+publish")
    assert "The subscription is lost: Redis refuses what the gateway needs (NOPERM)" in caplog.text
    assert "in time" not in caplog.text
