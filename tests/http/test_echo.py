"""The reader's own cursor comes back as an `id:`: some clients forget it where no frame has one."""

from redis.asyncio import Redis

from tests.conftest import RunningGateway, StartGateway, credentials
from tests.harness.history import append, ids_of
from tests.harness.sse import Seen, SseReader, parse_sse

A, B, C = "7-1", "7-2", "7-3"
ECHOED = {
    "header": ({"Last-Event-ID": A}, {}, A),
    "lastEventId": ({}, {"lastEventId": B}, B),
    "last_event_id": ({}, {"last_event_id": C}, C),
    "header first": ({"Last-Event-ID": A}, {"lastEventId": B, "last_event_id": C}, A),
    "lastEventId before last_event_id": ({}, {"last_event_id": C, "lastEventId": B}, B),
    "an empty one is none": ({"Last-Event-ID": ""}, {"lastEventId": "", "last_event_id": C}, C),
    "written again from its numbers": ({"Last-Event-ID": "007-0001"}, {}, A),
}  # fmt: skip
NOT_OURS = [
    "-1", "abc", "7-1 ", "7-1\n", "1-1\nevent: execution:completed\ndata: {}", "1-1\r\nid: 7-7",
    "7-\u0661", "1-2-3", "99999999999999999999999-1", "18446744073709551616-1", "\x00",
    "7-1\x00", "+7-1",
]  # fmt: skip


async def test_the_cursor_is_echoed(gateway: RunningGateway) -> None:
    """`connected` has the cursor that counts as its `id:`, and none for a reader without one; the
    order of several is header, `lastEventId`, `last_event_id`."""
    assert (await first(gateway)).id is None
    for name, (headers, query, cursor) in ECHOED.items():
        assert (await first(gateway, headers, query)).id == cursor, name


async def test_nothing_else_is_echoed(gateway: RunningGateway) -> None:
    """What is no cursor of our form comes back nowhere, and makes no frame of its own."""
    for given in NOT_OURS:
        for name in ("lastEventId", "last_event_id"):
            assert (await first(gateway, {}, {name: given})).id is None, given
    # A header of another form hides what is in the query: it is the browser's own.
    assert (await first(gateway, {"Last-Event-ID": "-1"}, {"lastEventId": A})).id is None


async def test_events_follow_the_cursor_that_is_echoed(
    gateway: RunningGateway, redis: Redis
) -> None:
    """`lastEventId` wins over the `last_event_id` of the address that it was appended to."""
    ids = [str(await append(redis, "run-1", n=n)) for n in range(3)]
    await append(redis, "run-1", "execution:completed")
    query = {"last_event_id": ids[0], "lastEventId": ids[2]}
    async with gateway.session.get(
        gateway.stream_url("run-1"), headers=credentials(), params=query
    ) as response:
        connected, *rest = parse_sse(await response.read())
    assert connected.id == ids[2]
    assert len(ids_of(rest)) == 1


async def test_a_refusal_echoes_it_too(start_gateway: StartGateway) -> None:
    """An answer that is one `stream:closing` has the cursor as well: it is a connection without any
    other id."""
    gateway = await start_gateway(ownership="token", max_streams_per_subject=1)
    await gateway.open("run-1")
    accept = {"Accept": "text/event-stream"}
    for cursor, echoed in ((A, A), ("1-1\nevent: x", None)):
        async with gateway.session.get(
            gateway.stream_url("run-1"),
            headers={**credentials(), **accept},
            params={"lastEventId": cursor},
        ) as response:
            [closing] = parse_sse(await response.read())
        assert (closing.event, closing.id) == ("stream:closing", echoed)


async def first(
    gateway: RunningGateway,
    headers: dict[str, str] | None = None,
    query: dict[str, str] | None = None,
) -> Seen:
    """The first frame of a stream that is opened like this."""
    async with gateway.session.get(
        gateway.stream_url("run-1"), headers={**credentials(), **(headers or {})}, params=query
    ) as response:
        return await SseReader(response).expect("connected")
