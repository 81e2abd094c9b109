"""A set is one stream for its reader's connection, for limits, for operators, and for the log."""

import asyncio
import gc
import logging
from typing import Any

import orjson
import pytest
from aiohttp.test_utils import make_mocked_request
from redis.asyncio import Redis

from gateway.admin.routes import streams_handler
from gateway.events.ids import EventId
from gateway.events.set_cursor import digest_of, entry, join
from gateway.fanout.set_part import Part
from gateway.fanout.set_stream import SetStream
from tests.conftest import StartGateway, credentials
from tests.harness.raw import Connection
from tests.harness.redis_process import RedisProcess
from tests.harness.sse import SseReader
from tests.sets.support import PATH, ask, happen, open_set, path
from tests.support import eventually


@pytest.fixture(params=["pattern", "execution"])
def subscription(request: pytest.FixtureRequest) -> str:
    """All of this holds in both ways to subscribe."""
    return str(request.param)


FIFTY = [f"run-{number}" for number in range(50)]


@pytest.mark.parametrize(
    ("setting", "code"),
    [
        ("max_streams_per_organization", "organization_limit"),
        ("max_streams_per_subject", "subject_limit"),
        ("max_streams_per_address", "address_limit"),
        ("max_connections", "limit_reached"),
    ],
)
async def test_fifty_count_as_five(start_gateway: StartGateway, setting: str, code: str) -> None:
    """In each limit: with room for nine there is room for one set of fifty and four of a few. An
    EventSource is told to come back, with its cursor."""
    gateway = await start_gateway(ownership="token", **{setting: 9})
    cursor = join([entry(digest_of("run-1"), EventId(5, 7))]).decode()
    reader, _ = await open_set(gateway, FIFTY)
    refused = await ask(gateway, FIFTY, cursor, Accept="text/event-stream")
    [closing] = await SseReader(refused).rest()
    assert (closing.json()["reason"], closing.id) == ("limit", cursor)
    for number in range(4):
        await open_set(gateway, FIFTY[: 10 - number])
    response = await ask(gateway, ["run-1"])
    assert (response.status, (await response.json())["error"]) == (429, code)
    reader.response.close()

    async def is_open() -> bool:
        return bool((await ask(gateway, FIFTY)).status == 200)

    await eventually(is_open)


async def test_heartbeat_expiry_and_end_come_once(start_gateway: StartGateway) -> None:
    """And the operators' list has one line, with its executions."""
    gateway = await start_gateway(ownership="token", heartbeat_seconds=0.3)
    reader, _ = await open_set(gateway, ["a", "b"], claims={"ttl_seconds": 30})
    names = [seen.event for _ in range(3) if (seen := await reader.next())]
    assert sorted(names) == ["heartbeat", "heartbeat", "stream:expiring"]
    components = gateway.components
    handle = streams_handler(components.hub, components.intake.drops)
    answer: Any = await handle(make_mocked_request("GET", "/streams?execution=b"))
    document = orjson.loads(answer.body)
    assert document["open"] == 1
    [line] = document["streams"]
    assert (line["execution_ids"], line["state"]) == (["a", "b"], "live")
    await components.hub.drain(0)
    [last] = await reader.rest()
    assert (last.event, last.json()["reason"]) == ("stream:closing", "drain")
    assert "execution_id" not in last.json()


async def test_one_line_in_the_log_and_nothing_stays_behind(
    start_gateway: StartGateway, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """The line has its executions and counts; the garbage collector finds nothing."""

    # For an interval the heartbeats' wheel still has it.
    gateway = await start_gateway(ownership="token", heartbeat_seconds=0.3)

    def left() -> int:
        return sum(isinstance(one, SetStream | Part) for one in gc.get_objects())

    caplog.set_level(logging.INFO, "gateway.streams")
    gc.collect()
    before = left()
    connection = await Connection.open(gateway.url)
    headers = "".join(f"{name}: {value}\r\n" for name, value in credentials().items())
    connection.send(f"GET {path(['a', 'b'])} HTTP/1.1\r\nHost: x\r\n{headers}\r\n")
    await connection.hear(quiet=0.1)
    await happen(redis, "a")
    hub = gateway.components.hub
    await eventually(lambda: [one.written.events for one in hub] == [1])
    assert left() == before + 3
    gc.disable()
    try:
        await connection.closed()
        await eventually(lambda: len(gateway.components.hub) == 0)
        await eventually(lambda: left() == before)
    finally:
        gc.enable()
    [line] = [one.getMessage() for one in caplog.records if "stream ended" in one.getMessage()]
    assert "a b" in line
    assert "events=1" in line


async def test_a_reader_who_takes_nothing_is_cut(start_gateway: StartGateway, redis: Redis) -> None:
    """By the write timeout, as one stream; until then no more waits for it than for one."""
    gateway = await start_gateway(
        ownership="token", write_timeout_seconds=0.5, send_buffer_bytes=4096, queue_bytes=65536
    )
    reader, _ = await open_set(gateway, FIFTY)
    reader.response.connection.transport.pause_reading()  # type: ignore[union-attr]
    [stream] = gateway.components.hub

    async def flood() -> bool:
        for name in FIFTY:
            await happen(redis, name)
        shown = stream.snapshot(asyncio.get_running_loop().time())
        assert shown.queue_bytes <= 65536 + 5 * 2**20
        return gateway.components.metrics.streams_closed["slow_reader"] == 1

    await eventually(flood)
    assert len(gateway.components.hub) == 0


async def test_while_redis_is_away_it_is_told_to_come_back(
    start_gateway: StartGateway, redis_process: Any
) -> None:
    server: RedisProcess = redis_process()
    gateway = await start_gateway(redis_url=server.url, ownership_wait_seconds=0.2)
    await asyncio.to_thread(server.kill)
    response = await ask(gateway, ["a"], Accept="text/event-stream")
    [closing] = await SseReader(response).rest()
    assert (closing.event, closing.json()["reason"]) == ("stream:closing", "unavailable")
    assert (await ask(gateway, ["a"])).status == 503


async def test_a_ticket_and_a_cookie_open_it(start_gateway: StartGateway) -> None:
    """Credentials count as for a stream of one execution: a cookie only for our own pages."""
    gateway = await start_gateway(ownership="token", token_cookie="token")
    given = credentials()
    token = given["Authorization"].removeprefix("Bearer ")
    for site, status in (("same-origin", 200), ("cross-site", 401)):
        headers = {
            "Cookie": f"token={token}",
            "Sec-Fetch-Site": site,
            "X-Organization-ID": "acme",
        }
        async with gateway.session.get(gateway.url + path(["a"]), headers=headers) as response:
            assert response.status == status
    url = f"{gateway.url}/api/v1/sse/executions/ticket"
    async with gateway.session.post(
        url, headers=given, json={"execution_ids": ["a", "b"]}
    ) as answer:
        ticket = (await answer.json())["ticket"]
    for status in (200, 401):
        async with gateway.session.get(f"{gateway.url}{PATH}?ticket={ticket}") as response:
            assert response.status == status
