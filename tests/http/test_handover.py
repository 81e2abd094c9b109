"""A stream that is open has left aiohttp: what it costs, and what becomes of its connection."""

import asyncio
import gc
import logging
import re
import time
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from aiohttp import web
from redis.asyncio import Redis

from gateway.events.sse_encoder import CloseReason
from gateway.fanout.catch_up import Reads
from gateway.fanout.state import State
from gateway.fanout.subscriber import Subscriber
from gateway.http.heads import Heads
from tests.conftest import RunningGateway, StartGateway, credentials
from tests.harness.raw import Connection, say
from tests.support import eventually, producer_message

PATH = "/api/v1/sse/executions/run-1/stream"
LAST_CHUNK = b"0\r\n\r\n"


def request(version: str = "1.1", **more: str) -> str:
    headers = {"Host": "gateway", **credentials(), **more}
    lines = [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([f"GET {PATH} HTTP/{version}", *lines, "", ""])


async def test_no_task_and_no_request_for_a_live_stream(gateway: RunningGateway) -> None:
    """A live stream has no task of its own, and aiohttp knows nothing of it any more."""

    def requests() -> int:
        return sum(isinstance(one, web.BaseRequest) for one in gc.get_objects())

    # What other tests have left goes now, and not while this one counts.
    gc.collect()
    # Of a connection that is kept alive, aiohttp keeps the last one.
    before, known = asyncio.all_tasks(), requests()
    connections = [await Connection.open(gateway.url) for _ in range(20)]
    for connection in connections:
        connection.send(request())
    await eventually(lambda: sum(one.state is State.LIVE for one in gateway.components.hub) == 20)
    assert len(gateway.components.hub) == 20
    # Questions to Redis end a few milliseconds after their answers; and a task that is done is held
    # by the loop, with its request, until the loop's next step.
    await eventually(lambda: asyncio.all_tasks() <= before)
    await eventually(lambda: requests() == known)
    for connection in connections:
        await connection.closed()
    await eventually(lambda: len(gateway.components.hub) == 0)


async def test_nothing_stays_behind(start_gateway: StartGateway) -> None:
    """A stream whose reader has left leaves nothing to the garbage collector."""

    # For an interval the heartbeats' wheel still has it.
    gateway = await start_gateway(ownership="token", heartbeat_seconds=0.3)

    def subscribers() -> int:
        return sum(isinstance(one, Subscriber) for one in gc.get_objects())

    # A gateway of another test may have been stopped under a reader that did not read.
    gc.collect()
    before = subscribers()
    connection = await Connection.open(gateway.url)
    connection.send(request())
    await connection.hear(quiet=0.2)
    assert subscribers() == before + 1
    gc.disable()
    try:
        await connection.closed()
        await eventually(lambda: len(gateway.components.hub) == 0)
        await eventually(lambda: subscribers() == before)
    finally:
        gc.enable()


async def test_the_connection_ends_with_the_stream(gateway: RunningGateway, redis: Redis) -> None:
    """The response says that its connection ends with it, its last chunk is the last byte, and a
    second request sent along is not answered."""
    connection = await Connection.open(gateway.url)
    connection.send(request() + request())
    await eventually(lambda: len(gateway.components.hub) == 1)
    connection.send(request())
    await redis.publish("execution:run-1", producer_message("execution:completed"))
    said = await connection.hear(quiet=5)
    await connection.closed()
    assert said.closed
    assert said.statuses == [200]
    assert said.headers["connection"] == "close"
    assert said.data.endswith(LAST_CHUNK)
    # Of the body: a header may end like it.
    assert said.data.partition(b"\r\n\r\n")[2].count(LAST_CHUNK) == 1
    assert len(gateway.components.hub) == 0


@pytest.mark.parametrize("origins", ["", "https://listed.example", "*"])
async def test_each_head_is_as_the_first_one_which_aiohttp_made(
    start_gateway: StartGateway, origins: str
) -> None:
    """Byte for byte but for the date, whose form is the same, and the request's own id."""
    gateway = await start_gateway(
        ownership="token", cors_origins=origins, cors_credentials=origins != "*"
    )
    for origin in ("", "https://listed.example", "https://100%(date)b.example"):
        heads, dates = [], []
        for name in ("first", "second", "third"):
            connection = await Connection.open(gateway.url)
            more = {"Origin": origin} if origin else {}
            connection.send(request(**more, **{"X-Request-ID": f"id-{name}"}))
            said = await connection.hear(quiet=0.02)
            await connection.closed()
            assert said.headers["x-request-id"] == f"id-{name}"
            dates.append(said.headers["date"])
            head, _, body = said.data.partition(b"\r\n\r\n")
            assert int(body.partition(b"\r\n")[0], 16) > 0
            heads.append(head.replace(dates[-1].encode(), b"").replace(f"id-{name}".encode(), b""))
        assert heads[0] == heads[1] == heads[2]
        assert all(abs(parsedate_to_datetime(one).timestamp() - time.time()) < 60 for one in dates)
        assert {len(one) for one in dates} == {29}
        allowed = b"Access-Control-Allow-Origin: " + origin.encode()
        listed = origin and (origins == "*" or origin == origins)
        assert (allowed + b"\r\n" in heads[2] + b"\r\n") is bool(listed)


async def test_only_some_origins_are_remembered(start_gateway: StartGateway) -> None:
    """With `*` a client may invent any number of origins, of any length."""
    gateway = await start_gateway(ownership="token", cors_origins="*")
    for names, known in ((["x" * 250, *range(15)], 15), (range(15, 20), 16)):
        for name in names:
            connection = await Connection.open(gateway.url)
            connection.send(request(Origin=f"https://{name}.example"))
            said = await connection.hear(quiet=0.01)
            await connection.closed()
            assert said.statuses == [200]
        assert max(len(one) for one in gc.get_objects() if isinstance(one, Heads)) == known


async def test_without_chunks(gateway: RunningGateway, redis: Redis) -> None:
    """HTTP/1.0 gets the same bytes without chunks, whichever way they take, and the end of the
    connection as their end."""
    connection = await Connection.open(gateway.url)
    connection.send(request("1.0"))
    await eventually(lambda: len(gateway.components.hub) == 1)
    for number in range(3):
        await redis.publish("execution:run-1", producer_message("step:started", number=number))
    await redis.publish("execution:run-1", producer_message("execution:completed"))
    said = await connection.hear(quiet=5)
    await connection.closed()
    assert said.closed
    assert "transfer-encoding" not in said.headers
    assert "content-length" not in said.headers
    body = said.data.partition(b"\r\n\r\n")[2]
    assert body.startswith(b"retry: ")
    assert body.count(b"\nid: ") + body.count(b"\n\nid: ") >= 4
    assert b"\r\n" not in body
    assert body.endswith(b"}\n\n")


async def test_logged_at_its_end(
    gateway: RunningGateway, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has one line for a stream, at its end: whose it was, why it ended, what was written,
    and the id that a proxy gave the request; and nothing of the query."""
    caplog.set_level(logging.INFO, "gateway")
    connection = await Connection.open(gateway.url)
    given = request(**{"X-Request-ID": "from-nginx-1"})
    connection.send(given.replace(PATH, f"{PATH}?last_event_id=-1"))
    said = await connection.hear(quiet=0.2)
    assert said.headers["x-request-id"] == "from-nginx-1"
    assert lines_of(caplog, "gateway.streams") == []
    await redis.publish("execution:run-1", producer_message("step:started"))
    await redis.publish("execution:run-1", producer_message("execution:completed"))
    data = said.data + (await connection.hear()).data
    await connection.closed()
    await eventually(lambda: lines_of(caplog, "gateway.streams"))
    [line] = lines_of(caplog, "gateway.streams")
    body = data.partition(b"\r\n\r\n")[2]
    # aiohttp has framed the first chunk, and does not say with how much.
    written = len(body) - body.index(b"\r\n") - 4
    seconds = re.search(r" seconds=([0-9.]+) ", line)
    assert seconds is not None
    assert line == (
        "stream ended execution_id=run-1 organization_id=acme reason=completed events=2 "
        f"bytes={written} seconds={seconds[1]} request_id=from-nginx-1"
    )
    assert lines_of(caplog, "gateway.access_log") == []


def lines_of(caplog: pytest.LogCaptureFixture, logger: str) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.name == logger]


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "ä", 'quote"'])
async def test_request_id_of_its_own(gateway: RunningGateway, given: str) -> None:
    """Without a usable id the gateway draws one, another one for each request, and tells it."""
    ids = set()
    for _ in range(2):
        connection = await Connection.open(gateway.url)
        connection.send(request(**{"X-Request-ID": given}))
        said = await connection.hear(quiet=0.2)
        ids.add(said.headers["x-request-id"])
        await connection.closed()
    assert len(ids) == 2
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in ids)


async def test_a_stream_that_fails_is_cut_and_told(
    gateway: RunningGateway, redis: Redis, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """What goes wrong while a stream catches up is logged, and ends that stream alone."""
    broken = await gateway.open("run-1")
    whole = await gateway.open("run-2")

    def fail(*_: object) -> None:
        raise ValueError("nobody expected this")

    with monkeypatch.context() as patched:
        patched.setattr(Reads, "page", fail)
        gateway.components.hub.start_over("run-1")
        await eventually(lambda: len(gateway.components.hub) == 1)
    assert "A stream of run-1 failed" in caplog.text
    assert "nobody expected this" in caplog.text
    await redis.publish("execution:run-2", producer_message("execution:completed"))
    assert [seen.event for seen in await whole.rest()] == ["execution:completed"]
    assert broken.response.content.at_eof() or broken.response.content.exception() is not None


async def test_closed_while_it_was_opened(gateway: RunningGateway) -> None:
    """A stream that is closed between its admission and its first page says why, and ends."""
    admit = gateway.components.access.policy.admit

    async def close_then_admit(principal: object, **options: Any) -> None:
        [subscriber] = gateway.components.hub
        subscriber.close(CloseReason.REVOKED)
        await admit(principal, **options)  # type: ignore[arg-type]

    object.__setattr__(gateway.components.access.policy, "admit", close_then_admit)
    said = await say(gateway.url, request(), quiet=5)
    assert said.closed
    assert said.data.index(b"event: connected") < said.data.index(b'"reason":"revoked"')
    assert said.data.endswith(LAST_CHUNK)


async def test_stop_with_a_reader_that_does_not_read(start_gateway: StartGateway) -> None:
    """A gateway that stops cuts off who does not take its last bytes, and does not wait for it."""
    gateway = await start_gateway(ownership="token", drain_seconds=0.1, send_buffer_bytes=4096)
    connection = await Connection.open(gateway.url)
    connection.send(request())
    await connection.hear(quiet=0.2)
    [subscriber] = gateway.components.hub
    # More than the sockets hold: what follows is never taken.
    subscriber.notify(b": " + b"x" * 8_000_000 + b"\n\n")
    async with asyncio.timeout(5):
        await gateway.server.stop()
    assert len(gateway.components.hub) == 0
    await connection.closed()
