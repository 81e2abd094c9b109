"""Lists of gateways that hear only what is watched, without a recorder: executions that nobody
watches are listed all the same, as they are and in their order."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from gateway.contract.index import Entry, Sweep
from gateway.contract.keys import list_order_key
from gateway.lists.fold import FIELDS, About
from gateway.lists.sweep import Suspects
from gateway.publisher import Publisher
from tests.conftest import RunningGateway, StartGateway
from tests.harness.history import append
from tests.lists.support import ListClient
from tests.publisher.conftest import publishing_token
from tests.support import eventually


@pytest.fixture
async def watching(start_gateway: StartGateway) -> RunningGateway:
    return await start_gateway(
        subscription="execution", record_bare_events="off", recorder=False, publish=True
    )


@pytest.fixture(params=["http", "redis"])
async def publisher(
    request: pytest.FixtureRequest, watching: RunningGateway, redis_url: str
) -> AsyncIterator[Publisher]:
    """One that publishes by way of the gateway, and one beside it."""
    if request.param == "http":
        publisher = Publisher(watching.url, token=publishing_token())
    else:
        publisher = Publisher(redis_url, publish_to="execution")
    async with publisher:
        yield publisher


async def test_an_open_list_of_one_status_shows_what_gets_it(
    watching: RunningGateway, publisher: Publisher
) -> None:
    await publisher.register("run-1", "acme")
    await publisher.publish("run-1", "step:started", {"node_id": "a"})
    tab = await ListClient(watching).stream(status="failed")
    assert await tab.read() == "executions:snapshot"
    await publisher.publish("run-1", "execution:failed", {"error": "no"})
    await tab.until(lambda shown: "run-1" in shown)
    assert tab.shown["run-1"]["status"] == "failed"


async def test_the_order_is_that_of_the_last_events(
    watching: RunningGateway, publisher: Publisher, redis: Redis
) -> None:
    """An execution that is not among those that an open list shows becomes the first."""
    for execution_id in ("run-1", "run-2"):
        await publisher.register(execution_id, "acme")
        await publisher.publish(execution_id, "step:started", {"node_id": "a"})
    # What its last event was is noted up to seconds later.
    await redis.zincrby(list_order_key("acme"), -10_000, "run-1")
    tab = await ListClient(watching).stream(limit="1")
    await tab.until(lambda shown: list(shown) == ["run-2"])

    async def is_first() -> bool:
        await publisher.publish("run-1", "step:completed", {"node_id": "a"})
        return await redis.zrevrange(list_order_key("acme"), 0, 0) == [b"run-1"]

    await eventually(is_first)
    await tab.until(lambda shown: list(shown) == ["run-1"])


async def test_what_runs_is_not_watched_because_somebody_looks_at_a_list(
    watching: RunningGateway, redis: Redis
) -> None:
    """It is looked up every few seconds; its history is followed only where it is silent, which is
    once a minute."""
    event_id = await append(redis, "run-1")
    await append(redis, "run-1")
    about = About(await watching.components.trips.ask_meta("run-1", *FIELDS))
    entries = {"run-1": Entry(0, event_id, "running", "")}
    suspects = Suspects(watching.components.rules.terminal_types, hears_all=False)
    kinds: tuple[tuple[Sweep, bool], ...] = (("none", False), ("stale", True))
    for kind, is_followed in kinds:
        suspects.add(entries, kind, 100_000)
        assert suspects.take() == ["run-1"]
        assert suspects.correction("run-1", entries["run-1"], about, 100_000) is None
        assert suspects.must_follow(entries["run-1"], about, 100_000, 0) is is_followed
