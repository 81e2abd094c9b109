"""A set opens though nobody can say of some executions whether they may be seen."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.access.backend_server import Backend, start_backend
from tests.conftest import RunningGateway, StartGateway, credentials
from tests.harness.sse import Seen, SseReader
from tests.sets.support import ask, happen, of, open_set
from tests.sets.test_stream import shown
from tests.support import eventually

ALL = ["now", "late", "foreign"]


@pytest.fixture
async def backend(aiohttp_server: Any) -> AsyncIterator[Backend]:
    """It says nothing of two of them, for now."""
    backend = await start_backend(aiohttp_server)
    backend.stuck = lambda request: not request.path.endswith("/now")
    yield backend
    backend.released.set()


@pytest.fixture
async def gateway(start_gateway: StartGateway, backend: Backend) -> RunningGateway:
    return await start_gateway(
        ownership="backend", backend_url=backend.url, ownership_wait_seconds=0.5
    )


def answer(backend: Backend) -> None:
    """It says yes to one of these, and no to the other."""
    backend.stuck = lambda _: False
    backend.refuses = lambda request: request.path.endswith("/foreign")
    backend.released.set()


async def happen_to_all(redis: Redis, event_type: str) -> None:
    for one in ALL:
        await happen(redis, one, event_type)


async def until_ended(reader: SseReader, execution_id: str) -> list[Seen]:
    seen = [await shown(reader)]
    while not of(seen[-1:], execution_id) or seen[-1].event != "stream:ended":
        seen.append(await shown(reader))
    return seen


async def test_what_is_admitted_later_follows_and_nothing_else_is_shown(
    gateway: RunningGateway, backend: Backend, redis: Redis
) -> None:
    """The one is shown from its beginning; the other is named absent, and shows not one event."""
    await happen_to_all(redis, "before")
    reader, _ = await open_set(gateway, ALL)
    await happen_to_all(redis, "while")
    await happen_to_all(redis, "execution:completed")
    seen = await until_ended(reader, "now")
    assert {one.json().get("execution_id") for one in seen} == {"now"}
    answer(backend)
    seen = await reader.rest()
    assert [one.event for one in of(seen, "late")] == [
        "before", "while", "execution:completed", "stream:ended",
    ]  # fmt: skip
    assert [one.event for one in of(seen, "foreign")] == ["stream:absent"]
    await eventually(lambda: not list(gateway.components.hub))


async def test_a_reader_that_leaves_is_asked_for_no_more(
    gateway: RunningGateway,
) -> None:
    await open_set(gateway, ALL)
    gateway.responses[-1].close()
    await eventually(lambda: not list(gateway.components.hub))
    await eventually(lambda: not gateway.components.hub._tasks)


async def test_where_nothing_may_be_seen_yet_the_request_is_refused(
    gateway: RunningGateway, backend: Backend
) -> None:
    """A ticket, too: it would name them absent for good."""
    response = await ask(gateway, ["late", "foreign"])
    assert response.status == 503
    url = gateway.url + "/api/v1/sse/executions/ticket"
    document = {"execution_ids": ALL}
    async with gateway.session.post(url, json=document, headers=credentials()) as response:
        assert response.status == 503
