"""Tabs that are slow, frozen, reloaded or dropped: against a real gateway all is well, and what
is lost on the way is found."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
from redis.asyncio import Redis

from gateway.tools.loadtest.findings import Findings
from gateway.tools.loadtest.plan import Plan, Slo, Target
from gateway.tools.loadtest.run import LoadTest
from tests.conftest import RunningGateway, StartGateway, credentials

FaultyGateway = Callable[..., AbstractAsyncContextManager[str]]


def target(url: str, redis_url: str) -> Target:
    token = credentials()["Authorization"].removeprefix("Bearer ")
    return Target(url=url, publish_url=redis_url, organization="acme", token=token)


def plan(**more: object) -> Plan:
    """20 tabs on two executions, for half a second."""
    return Plan(**{"tabs": 20, "executions": 2, "events": 20, "rate": 80.0, **more})  # type: ignore[arg-type]


@pytest.fixture
async def registry(start_gateway: StartGateway) -> RunningGateway:
    return await start_gateway(ownership="registry")


async def run(gateway: RunningGateway, redis_url: str, **more: object) -> Findings:
    return await LoadTest(target(gateway.url, redis_url), plan(**more)).run()


async def test_slow_readers_get_all(registry: RunningGateway, redis_url: str) -> None:
    """Tabs that read a little now and then get every event, and their delays are not taken for the
    gateway's."""
    found = await run(registry, redis_url, slow=0.5)
    assert found.ok, found
    assert (found.ended, found.received) == (20, 400)
    assert found.latency_ms["p95"] < 400


async def test_frozen_readers_harm_nobody(registry: RunningGateway, redis_url: str) -> None:
    """Tabs that never read open, and then nothing is expected of them; the others get all."""
    found = await run(registry, redis_url, frozen=0.25)
    assert found.ok, found
    assert (found.frozen, found.ended, found.expected) == (5, 15, 300)
    assert found.received >= 300


async def test_reloaded_pages_receive_all_again(registry: RunningGateway, redis_url: str) -> None:
    """A reloaded page has no cursor, gets all of history, and nothing counts twice."""
    found = await run(registry, redis_url, reload=1.0)
    assert found.ok, found
    assert found.reloads > 10
    assert found.reconnects == found.reloads
    assert found.duplicated == found.lost == 0


async def test_storm(registry: RunningGateway, redis_url: str) -> None:
    """All tabs dropped at once come back with their last id after the time they were told, before
    their run ends; they have lost nothing, and the findings say how long that took."""
    found = await run(registry, redis_url, storm=True)
    assert found.publishing_seconds >= (found.storm_seconds or 99) > 0
    assert found.ok, found
    assert found.reconnects == 20
    assert found.interruptions == {"the load test dropped all streams at once": 20}
    assert found.storm_seconds is not None
    assert 1 <= found.storm_seconds < 10


async def test_closing_is_come_back_from(registry: RunningGateway, redis_url: str) -> None:
    """A stream that the gateway closes early is followed on with its cursor."""

    class Closes(LoadTest):
        async def _publish(self, redis: Redis, calm: asyncio.Event) -> None:
            await registry.components.hub.drain(0)
            registry.components.hub.draining = False
            await super()._publish(redis, calm)

    found = await Closes(target(registry.url, redis_url), plan()).run()
    assert found.ok, found
    assert found.interruptions == {"the gateway closed the stream early: drain": 20}
    assert found.reconnects == 20


async def test_ramp_up(registry: RunningGateway, redis_url: str) -> None:
    """Tabs open evenly over the time that was asked for, and the timeline shows it."""
    found = await run(registry, redis_url, ramp_up=1.5)
    assert found.ok, found
    assert 1.3 < found.opening_seconds < 4
    first = found.timeline[0]
    assert 5 <= first.open_tabs <= 15
    assert sum(one.events_per_second for one in found.timeline) > 0


async def test_objectives(registry: RunningGateway, redis_url: str) -> None:
    """A run in which all arrives is not ok where an objective was missed, and is ok where it was
    met."""
    kept, missed = Slo.parse("max=60s"), Slo.parse("p50=0.0001ms")
    found = await run(registry, redis_url, slos=(kept, missed))
    assert found.objectives == {"max=60s": True, "p50=0.0001ms": False}
    assert not found.ok
    assert found.lost == 0


async def test_what_a_storm_loses_is_found(faulty_gateway: FaultyGateway, redis_url: str) -> None:
    """A gateway without history loses what is published while its tabs are away: every loss is
    counted."""
    async with faulty_gateway() as url:
        found = await LoadTest(target(url, redis_url), plan(storm=True, idle_timeout=3.0)).run()
    assert not found.ok
    assert found.lost > 0
    assert found.lost + found.received == 400
