"""Polling again and again: what it costs, and how it goes together with the stream."""

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.bus.connection import primaries_of
from gateway.bus.history import Entry, Page
from gateway.contract.keys import events_key, meta_key
from gateway.contract.scripts import HistoryLimits
from gateway.events.history_page import CursorStatus
from gateway.events.ids import EventId, parse_id
from gateway.http.run_document import DocumentBuilder, Query
from gateway.metrics import Metrics
from gateway.publisher import Publisher
from tests.conftest import RunningGateway, credentials
from tests.harness.history import flush
from tests.http.conftest import Client, path, poll
from tests.http.histories import Producer
from tests.support import eventually, producer_message


async def tag_of(client: Client, known: str = "", **query: str) -> tuple[int, str]:
    """Status and entity tag of a poll that knows a document already."""
    headers = {**credentials(), **({"If-None-Match": known} if known else {})}
    async with client.get(path(), params=query, headers=headers) as response:
        assert response.headers["Cache-Control"] == "private, no-cache"
        assert response.headers["Vary"] == "Origin"
        assert bool(await response.read()) == (response.status == 200)
        return response.status, response.headers["ETag"]


QUERIES = [{}, {"include_logs": "true"}, {"include_logs": "true", "after": "7-1"}]


@pytest.mark.parametrize("query", QUERIES)
async def test_nothing_new_is_304(
    client: Client, producer: Producer, query: dict[str, str]
) -> None:
    """A poll without news is a 304, from before the first event to after the last."""
    _, tag = await tag_of(client, **query)
    assert await tag_of(client, tag, **query) == (304, tag)
    for event_type in ["step:started", "step:completed", "execution:completed", "step:started"]:
        await producer.publish(event_type, node_id="n1")
        before, (status, tag) = tag, await tag_of(client, tag, **query)
        assert (status, tag == before) == (200, False)
        assert await tag_of(client, tag, **query) == (304, tag)


async def test_tags_are_told_apart(client: Client, producer: Producer) -> None:
    """A tag stands for one state of one answer: what was asked for is part of it."""
    [first, last] = await producer.steps(["n1"])
    queries: list[dict[str, str]] = [
        {},
        {"include_logs": "true"},
        {"include_logs": "true", "after": first},
        {"include_logs": "true", "after": last},
    ]
    tags = [(await tag_of(client, **query))[1] for query in queries]
    assert len(set(tags)) == len(queries)
    for query in queries:
        for tag in tags:
            status, own = await tag_of(client, tag, **query)
            assert status == (304 if tag == own else 200)


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ("{tag}", 304),
        ('"other", {tag}', 304),
        ('W/"5-1.5-2..", {tag}, "x"', 304),
        ("{strong}", 304),
        ("*", 304),
        ('"other"', 200),
        ("nonsense", 200),
        ('W/"....."', 200),
        ('W/"0005-1.5-1.."', 200),
        ('W/"5-1.99999999999999999999999-1.."', 200),
    ],
)
async def test_forms_of_the_header(
    client: Client, producer: Producer, form: str, status: int
) -> None:
    """`If-None-Match` is a list compared weakly, or `*`; what is not understood is no match."""
    await producer.steps(["n1"])
    _, tag = await tag_of(client)
    assert tag.startswith('W/"')
    known = form.format(tag=tag, strong=tag.removeprefix("W/"))
    assert await tag_of(client, known) == (status, tag)


async def test_made_up_tag(client: Client) -> None:
    """A tag of the right form that was never given is no match, also where nothing is kept."""
    for known in ('W/".5-1.."', 'W/"5-1.5-1.."', 'W/"5-1..."'):
        assert (await tag_of(client, known))[0] == 200


async def test_cost_of_no_news(client: Client, redis: Redis, producer: Producer) -> None:
    """A poll without news does not make Redis send the history."""
    for _ in range(20):
        await producer.publish("step:completed", node_id="n1", output="x" * 100_000)

    async def sent() -> int:
        nodes = await primaries_of(redis)
        return sum([int((await one.info("stats"))["total_net_output_bytes"]) for one in nodes])

    before = await sent()
    status, tag = await tag_of(client, include_logs="true")
    assert (status, await sent() - before > 2_000_000) == (200, True)
    before = await sent()
    assert (await tag_of(client, tag, include_logs="true"))[0] == 304
    # Nor does one that knows nothing: the document is remembered.
    assert (await tag_of(client, include_logs="true"))[0] == 200
    assert await sent() - before < 100_000


async def test_no_news_needs_credentials(client: Client, producer: Producer) -> None:
    """A client that may not see a run does not learn that it has nothing new either."""
    await producer.steps(["n1"])
    _, tag = await tag_of(client)
    for headers, status in (({}, 401), ({**credentials(), "X-Organization-ID": "other"}, 403)):
        async with client.get(path(), headers={**headers, "If-None-Match": tag}) as response:
            assert response.status == status
            assert "ETag" not in response.headers


async def test_news_that_are_no_events(client: Client, redis: Redis) -> None:
    """A history that was trimmed, expired or lost is another answer, though nothing follows."""
    producer = Producer(redis, limits=HistoryLimits(max_bytes=2000))
    await producer.publish("step:completed", output="x" * 900)
    await producer.publish("execution:completed", output="x" * 900)
    _, whole = await tag_of(client)
    await producer.publish("step:completed", output="x" * 900)
    status, trimmed = await tag_of(client, whole)
    assert status == 200
    await redis.delete(events_key("run-1"))
    status, expired = await tag_of(client, trimmed)
    assert status == 200
    assert await tag_of(client, expired) == (304, expired)
    await flush(redis)
    status, lost = await tag_of(client, expired)
    assert status == 200
    assert len({whole, trimmed, expired, lost}) == 4


async def test_after(client: Client, producer: Producer) -> None:
    """`after` leaves out the events up to it, and nothing else of the document."""
    ids = await producer.steps(["n1", "n2"])
    whole = await poll(client, include_logs="true")
    for index, after in enumerate(ids):
        document = await poll(client, include_logs="true", after=after)
        assert [event["id"] for event in document["events"]] == ids[index + 1 :]
        assert document.pop("cursor") == "valid"
        assert {**document, "events": whole["events"]} == whole


@pytest.mark.parametrize("after", ["-1", "", "x", "1-1", "9999999999999-1", "1-" + "9" * 40])
async def test_after_that_is_not_kept(client: Client, producer: Producer, after: str) -> None:
    """After nonsense, or an event that is not in this history, come all events."""
    ids = await producer.steps(["n1"])
    document = await poll(client, include_logs="true", after=after)
    assert [event["id"] for event in document["events"]] == ids
    assert document.get("cursor") == ("reset" if parse_id(after) else None)


async def test_after_another_epoch(client: Client, redis: Redis, producer: Producer) -> None:
    """When the history was lost and a new one began, a poll with an old id gets all of the new."""
    await producer.steps(["n1", "n2"])
    old = await poll(client)
    await flush(redis)
    new = await producer.steps(["n3"])
    document = await poll(client, include_logs="true", after=old["last_event_id"])
    assert [event["id"] for event in document["events"]] == new
    assert (document["cursor"], document["reset_reason"]) == ("reset", "history_lost")


async def test_whether_the_cursor_was_honoured(
    client: Client, redis: Redis, redis_url: str, producer: Producer
) -> None:
    """A poll says what its `after` was worth, as a stream does: a new epoch of the same history
    follows it, trimmed events are a gap, and so is a history that has expired before its end."""

    async def cursor(after: str) -> tuple[str, str | None]:
        document = await poll(client, include_logs="true", after=after)
        return document["cursor"], document.get("reset_reason")

    first, second = await producer.steps(["n1"])
    # What the scripts see after a failover, or a restart with an AOF.
    await redis.hset(meta_key("run-1"), "replid", "of another server")
    third = await producer.publish("step:started", node_id="n2")
    assert third.partition("-")[0] != second.partition("-")[0]
    assert await cursor(second) == ("valid", None)
    await redis.xdel(events_key("run-1"), first)
    assert await cursor(first) == ("gap", None)
    end = await producer.publish("execution:completed")
    assert await cursor(end) == ("valid", None)
    await redis.delete(events_key("run-1"))
    assert await cursor(end) == ("valid", None)
    assert await cursor(third) == await cursor(second) == ("gap", None)
    async with Publisher(redis_url) as engine:
        await engine.restart("run-1")
    assert await cursor(end) == ("reset", "restarted")
    await producer.publish("execution:failed")
    await redis.delete(events_key("run-1"))
    assert await cursor(end) == ("reset", "restarted")
    headers = credentials() | {"Last-Event-ID": end}
    async with client.get("/api/v1/sse/executions/run-1/stream", headers=headers) as response:
        _, reset, gap, _ = (await response.text()).split("\n\n")
    assert reset == 'event: stream:reset\ndata: {"reason":"restarted"}'
    assert gap.startswith("event: stream:gap")


def page(
    *ids: EventId,
    cursor_status: CursorStatus = "start",
    more: bool = False,
    terminal: EventId | None = None,
) -> Page:
    entries = [Entry(event_id, b'{"type":"step:completed"}') for event_id in ids]
    return Page(
        cursor_status, ids[0], terminal, "over", None, terminal is not None, more, None, entries
    )


def is_complete(builder: DocumentBuilder, page: Page) -> bool:
    """Whether the document is complete with this page."""
    list(builder.add(page))
    return builder.is_complete


def test_new_epoch_between_two_pages() -> None:
    """When a new history begins while the old one is read, only the new one is folded."""
    builder = DocumentBuilder("run-1", Query(with_logs=True), Metrics())
    assert not is_complete(builder, page(EventId(5, 1), EventId(5, 2), more=True))
    assert is_complete(builder, page(EventId(9, 1), cursor_status="reset"))
    document = builder.document()
    assert document.run["steps_completed"] == 1
    assert b"".join(document.chunks).count(b'"id"') == 1
    assert document.range == (EventId(9, 1), EventId(9, 1))


def test_many_late_events() -> None:
    """Of what came after the end one page is read, and no more: nobody waits for it."""
    builder = DocumentBuilder("run-1", Query(with_logs=False), Metrics())
    assert not is_complete(builder, page(EventId(5, 1), terminal=EventId(5, 1)))
    late = page(EventId(5, 2), cursor_status="valid", more=True, terminal=EventId(5, 1))
    assert is_complete(builder, late)
    assert builder.range == (EventId(5, 1), EventId(5, 2))


async def test_to_the_stream_and_back(gateway: RunningGateway, redis: Redis) -> None:
    """Going from polling to the stream and back by the last id, in the middle of a run, neither
    loses nor repeats an event, whether producers record or only PUBLISH."""
    producer = Producer(redis)
    seen: list[str] = []

    async def produce() -> None:
        for number in range(150):
            await producer.publish("step:started", node_id=f"n{number}")
            await redis.publish("execution:run-1", producer_message("log:line", number=number))
        await producer.publish("execution:completed")

    async def poll_once() -> Any:
        query = {"include_logs": "true", "after": seen[-1] if seen else ""}
        async with gateway.session.get(
            gateway.url + path(), params=query, headers=credentials()
        ) as response:
            document = await response.json()
        seen.extend(event["id"] for event in document["events"])
        assert document["last_event_id"] == (seen[-1] if seen else None)
        return document["status"]

    async def stream_some() -> None:
        reader = await gateway.open("run-1", Last_Event_ID=seen[-1])
        while len(seen) < target and (event := await reader.next()) is not None:
            if event.id is not None:
                seen.append(event.id)
        reader.response.close()

    running = asyncio.create_task(produce())
    await eventually(lambda: events_of(redis))
    status = await poll_once()
    while status != "completed":
        target = len(seen) + 40
        await asyncio.wait_for(stream_some(), 10)
        status = await poll_once()
    await running
    last = parse_id(seen[-1])
    assert last is not None
    assert seen == [str(EventId(last.epoch, seq)) for seq in range(1, 302)]


async def events_of(redis: Redis) -> int:
    return int(await redis.xlen(events_key("run-1")))
