"""What already happened, then what happens: no gap, no duplicate, at whatever moment one comes."""

import asyncio
import random

import orjson
import pytest
from redis.asyncio import Redis

from gateway.bus.registry import register
from gateway.contract.keys import meta_key
from gateway.events.ids import EventId
from tests.conftest import RunningGateway, StartGateway, credentials
from tests.harness.history import append, flush, ids_of, read
from tests.harness.sse import SseReader
from tests.support import eventually


@pytest.fixture(params=["pattern", "execution"])
def subscription(request: pytest.FixtureRequest) -> str:
    """All of this holds in both ways to subscribe."""
    return str(request.param)


EVENTS = "sse:{run-1}:events"
META = "sse:{run-1}:meta"


async def test_first_connect(gateway: RunningGateway, redis: Redis) -> None:
    """A first connect gets the whole history, then what happens, each with its id, to the end."""
    past = [await append(redis, "run-1", n=n) for n in range(30)]
    reader = await gateway.open("run-1")
    assert ids_of(await read(reader, 30)) == [str(one) for one in past]
    now = [await append(redis, "run-1", n=30), await append(redis, "run-1", "execution:completed")]
    assert ids_of(await reader.rest()) == [str(one) for one in now]


@pytest.mark.parametrize("where", ["header", "query"])
async def test_last_event_id(gateway: RunningGateway, redis: Redis, where: str) -> None:
    """A returning reader gets all after its `Last-Event-ID`, in header or query."""
    past = [await append(redis, "run-1", n=n) for n in range(10)]
    cursor = str(past[6])
    url = gateway.stream_url("run-1")
    headers = {"Last-Event-ID": cursor} if where == "header" else {}
    params = {"last_event_id": cursor} if where == "query" else {}
    async with gateway.session.get(url, headers={**credentials(), **headers}, params=params) as one:
        reader = SseReader(one)
        await reader.expect("connected")
        await append(redis, "run-1", "execution:completed")
        seen = await reader.rest()
    assert ids_of(seen)[:3] == [str(one) for one in past[7:]]
    assert len(seen) == 4


@pytest.mark.parametrize("cursor", ["-1", "abc", "1-2-3", "99999999999999999999999-1", " ", "1-é"])
async def test_malformed_cursor(gateway: RunningGateway, redis: Redis, cursor: str) -> None:
    """A malformed cursor means full history, not an error."""
    past = [await append(redis, "run-1", n=n) for n in range(3)]
    reader = await gateway.open("run-1", Last_Event_ID=cursor)
    assert ids_of(await read(reader, 3)) == [str(one) for one in past]


async def test_any_moment(gateway: RunningGateway, redis: Redis) -> None:
    """Readers that come at random moments of a run, with random cursors, each get exactly what
    follows, in order, at the seam between history and live too."""
    choose = random.Random(3)
    readers: list[tuple[str | None, SseReader]] = []
    given: list[str] = []

    async def come() -> None:
        cursor = choose.choice([None, *given]) if given else None
        headers = {"Last_Event_ID": cursor} if cursor else {}
        readers.append((cursor, SseReader(await gateway.get("run-1", **headers))))

    async def produce() -> None:
        # Where readers come slowly, it goes on until there are enough of them.
        while len(given) < 300 or len(readers) <= 30:
            event_id = await append(redis, "run-1", n=len(given))
            given.append(str(event_id))
        given.append(str(await append(redis, "run-1", "execution:completed")))

    producing = asyncio.ensure_future(produce())
    while not producing.done():
        await asyncio.gather(*[come() for _ in range(choose.randint(1, 4))])
    await producing
    assert len(readers) > 30
    for cursor, reader in readers:
        seen = [one for one in await reader.rest() if one.event != "connected"]
        begin = given.index(cursor) + 1 if cursor else 0
        assert ids_of(seen) == given[begin:]


async def test_gap(gateway: RunningGateway, redis: Redis) -> None:
    """Asked-for events that are no longer kept are named by a `stream:gap`, first and last missing
    id; a first connect to a trimmed history gets one as well."""
    past = [await append(redis, "run-1", n=n) for n in range(10)]
    await redis.xtrim(EVENTS, minid=str(past[7]), approximate=False)
    epoch = past[0].epoch
    for headers, first in (({"Last_Event_ID": str(past[2])}, 4), ({}, 1)):
        reader = await gateway.open("run-1", **headers)
        gap, *events = await read(reader, 4)
        assert (gap.event, gap.id) == ("stream:gap", None)
        assert gap.json() == {"from": f"{epoch}-{first}", "to": f"{epoch}-7", "missed": 8 - first}
        assert ids_of(events) == [str(one) for one in past[7:]]


async def another_server(redis: Redis, *lasts: int) -> list[list[EventId]]:
    """Histories of so many events each, one after the other as of another server."""
    found = []
    for last in lasts:
        found.append([await append(redis, "run-1", n=n) for n in range(last)])
        await redis.hset(meta_key("run-1"), "replid", "of another server")
    return found


@pytest.mark.parametrize("seen", [3, 5])
@pytest.mark.parametrize("kept", [0, 2])
async def test_a_gap_over_epochs(
    gateway: RunningGateway, redis: Redis, seen: int, kept: int
) -> None:
    """A cursor of a former epoch that is gone as a whole, as after a failover: what was in between
    is counted, and no stream starts over. A reader that polls does: clients of earlier releases
    count what is missing within one epoch alone."""
    first, second, third = await another_server(redis, 5, 2, 4)
    await redis.xtrim(EVENTS, minid=str(third[kept]), approximate=False)
    missed = [*first[seen:], *second, *third[:kept]]
    cursor = str(first[seen - 1])
    for _ in range(2):
        gap, *events = await read(await gateway.open("run-1", Last_Event_ID=cursor), 5 - kept)
        assert gap.event == "stream:gap"
        expected = {"from": str(missed[0]), "to": str(missed[-1]), "missed": len(missed)}
        assert gap.json() == expected
        assert ids_of(events) == [str(one) for one in third[kept:]]
    url = f"{gateway.url}/api/v1/workflows/-/runs/run-1?include_logs=true&after={cursor}"
    async with gateway.session.get(url, headers=credentials()) as response:
        assert (await response.json())["cursor"] == "reset"


async def test_where_nothing_is_missing_between_two_epochs_nothing_is_said(
    gateway: RunningGateway, redis: Redis
) -> None:
    first, second = await another_server(redis, 5, 2)
    await redis.xtrim(EVENTS, minid=str(second[0]), approximate=False)
    reader = await gateway.open("run-1", Last_Event_ID=str(first[-1]))
    assert ids_of(await read(reader, 2)) == [str(one) for one in second]


async def test_what_was_before_a_flush_is_another_history(
    gateway: RunningGateway, redis: Redis
) -> None:
    """And so is what no epoch has given."""
    [first] = await another_server(redis, 5)
    await redis.delete(EVENTS)
    [second] = await another_server(redis, 2)
    third = await append(redis, "run-1")
    await redis.xtrim(EVENTS, minid=str(third), approximate=False)
    for cursor in (first[1], EventId(second[0].epoch, 3)):
        reader = await gateway.open("run-1", Last_Event_ID=str(cursor))
        assert [one.event for one in await read(reader, 2)] == ["stream:reset", "step:started"]


async def test_reset(gateway: RunningGateway, redis: Redis) -> None:
    """A cursor from another life of the history: `stream:reset`, then the whole kept history."""
    past = [await append(redis, "run-1", n=n) for n in range(3)]
    for cursor in (
        EventId(past[0].epoch - 1, 2),
        EventId(past[0].epoch, 9),
        EventId(past[0].epoch + 1, 1),
    ):
        reader = await gateway.open("run-1", Last_Event_ID=str(cursor))
        reset, *events = await read(reader, 4)
        assert (reset.event, reset.id) == ("stream:reset", None)
        assert reset.json() == {"reason": "history_lost"}
        assert ids_of(events) == [str(one) for one in past]


async def test_no_content_after_the_end(gateway: RunningGateway, redis: Redis) -> None:
    """A reconnect whose cursor is the terminal event or later gets 204; one before it gets the
    rest, and the end."""
    before = await append(redis, "run-1")
    end = await append(redis, "run-1", "execution:failed")
    late = await append(redis, "run-1", "step:completed")
    for cursor in (end, late):
        response = await gateway.get("run-1", Last_Event_ID=str(cursor))
        assert response.status == 204
        assert await response.read() == b""
    reader = await gateway.open("run-1", Last_Event_ID=str(before))
    assert ids_of(await reader.rest()) == [str(end)]
    first = SseReader(await gateway.get("run-1"))
    connected = await first.expect("connected")
    assert connected.json() == {
        "execution_id": "run-1",
        "heartbeat_seconds": 15.0,
        "last_event_id": str(end),
        "status": "failed",
    }
    assert ids_of(await first.rest()) == [str(before), str(end)]


async def test_end_known_but_history_gone(gateway: RunningGateway, redis: Redis) -> None:
    """History has expired, but `meta` still knows the end: 204 at it; any other cursor gets
    `connected` with the status, `stream:gap`, and the end."""
    for number in range(4):
        await append(redis, "run-1", n=number)
    end = await append(redis, "run-1", "execution:completed")
    await redis.delete(EVENTS)
    assert (await gateway.get("run-1", Last_Event_ID=str(end))).status == 204
    for headers, missed in (({"Last_Event_ID": f"{end.epoch}-2"}, 3), ({}, 5)):
        reader = SseReader(await gateway.get("run-1", **headers))
        connected, gap = await reader.rest()
        assert connected.json()["status"] == "completed"
        assert gap.json() == {
            "from": f"{end.epoch}-{6 - missed}",
            "to": str(end),
            "missed": missed,
        }


async def test_nothing_kept(start_gateway: StartGateway, redis: Redis) -> None:
    """Nothing kept at all: 404 under `registry`; under `token` a sent cursor gets `stream:reset`
    and the stream goes on."""
    strict = await start_gateway(ownership_wait_seconds=0.5)
    assert (await strict.get("run-1", Last_Event_ID="5-5")).status == 404
    trusting = await start_gateway(ownership="token")
    reader = await trusting.open("run-1", Last_Event_ID="5-5")
    await reader.expect("stream:reset")
    event_id = await append(redis, "run-1", "execution:completed")
    assert ids_of(await reader.rest()) == [str(event_id)]


@pytest.mark.parametrize("subscription", ["pattern"])
async def test_a_forged_id_silences_nothing(gateway: RunningGateway, redis: Redis) -> None:
    """A published id that this history did not give, of another epoch or a later one of its own, is
    the producer's: its event gets an id, and those that follow come to new and old readers."""
    first = await append(redis, "run-1")
    old = await gateway.open("run-1")
    forged = ("9999999999999-1", f"{first.epoch}-7", f"{first.epoch}-0")
    for one in forged:
        message = orjson.dumps({"id": one, "type": "step:started", "data": {}})
        await redis.publish("execution:run-1", message)
    await eventually(lambda: gateway.components.metrics.events_recorded == len(forged))
    new = await gateway.open("run-1")
    end = await append(redis, "run-1", "execution:completed")
    assert end == EventId(first.epoch, 5)
    for reader in (old, new):
        seen = await reader.rest()
        assert ids_of(seen) == [f"{first.epoch}-{number}" for number in range(1, 6)]
        assert [event.json().get("source_id") for event in seen] == [None, *forged, None]
    assert gateway.components.metrics.events_edited == {"renumbered": len(forged)}


async def test_a_producers_own_ids(gateway: RunningGateway, redis: Redis) -> None:
    """Events of an engine that appends to a stream of its own, and publishes them with those ids,
    are bare ones: all arrive, and all readers see the same."""
    reader = await gateway.open("run-1")
    ids = [f"{1795898125203 + number}-0" for number in range(5)]
    types = ["step:started"] * 4 + ["execution:completed"]
    for one, event_type in zip(ids, types, strict=True):
        message = orjson.dumps({"id": one, "type": event_type, "data": {}})
        await redis.publish("execution:run-1", message)
    seen = await reader.rest()
    assert [event.json()["source_id"] for event in seen] == ids
    later = await (await gateway.open("run-1")).rest()
    assert [(one.id, one.data) for one in later] == [(one.id, one.data) for one in seen]


async def test_a_hole_is_repaired(gateway: RunningGateway, redis: Redis) -> None:
    """Events that were appended without being published are delivered before anything newer."""
    reader = await gateway.open("run-1")
    await append(redis, "run-1", n=0)
    await reader.expect("step:started")
    hidden = [await append(redis, "run-1", prefix="elsewhere:", n=n) for n in (1, 2)]
    end = await append(redis, "run-1", "execution:completed")
    assert ids_of(await reader.rest()) == [str(one) for one in (*hidden, end)]


async def test_a_missed_end_is_found(start_gateway: StartGateway, redis: Redis) -> None:
    """A stream that missed its terminal event without any sign ends all the same: a silent stream
    is compared with its history every heartbeat interval."""
    gateway = await start_gateway(ownership="token", heartbeat_seconds=0.3)
    reader = await gateway.open("run-1")
    await append(redis, "run-1")
    await reader.expect("step:started")
    end = await append(redis, "run-1", "execution:completed", prefix="elsewhere:")
    assert ids_of(await reader.rest()) == [str(end)]


async def test_lost_subscription_is_repaired(gateway: RunningGateway, redis: Redis) -> None:
    """What was published while the subscription was cut arrives at its confirmation."""
    reader = await gateway.open("run-1")
    await append(redis, "run-1", n=0)
    await reader.expect("step:started")
    await redis.execute_command("CLIENT", "KILL", "TYPE", "PUBSUB")
    given = [await append(redis, "run-1", n=n) for n in range(1, 20)]
    given.append(await append(redis, "run-1", "execution:completed"))
    assert ids_of(await reader.rest()) == [str(one) for one in given]


async def test_flushed_under_an_open_stream(start_gateway: StartGateway, redis: Redis) -> None:
    """History that was flushed under an open stream: `stream:reset`, then the new life."""
    gateway = await start_gateway(ownership="token", heartbeat_seconds=0.3)
    reader = await gateway.open("run-1")
    await append(redis, "run-1", n=0)
    await reader.expect("step:started")
    await flush(redis)
    await reader.expect("stream:reset")
    new = [await append(redis, "run-1", n=1), await append(redis, "run-1", "execution:completed")]
    assert ids_of(await reader.rest()) == [str(one) for one in new]


async def test_a_new_life_may_have_another_owner(start_gateway: StartGateway, redis: Redis) -> None:
    """After a flush the same id may become another organization's: its events do not reach a
    stream that was opened before."""
    gateway = await start_gateway(heartbeat_seconds=0.3, ownership_wait_seconds=0.5)
    await register(redis, "run-1", "acme")
    reader = await gateway.open("run-1")
    await append(redis, "run-1", n=0)
    await reader.expect("step:started")
    await flush(redis)
    await register(redis, "run-1", "other")
    await append(redis, "run-1", secret="of another")
    [closing] = await reader.rest()
    assert closing.json()["reason"] == "revoked"


@pytest.mark.alone
async def test_thousands_share_a_read(gateway: RunningGateway, redis: Redis) -> None:
    """Very many tabs coming back to one execution cost Redis a handful of reads. Each is answered
    within the seconds that an opening may take."""
    past = [await append(redis, "run-1", n=n) for n in range(20)]
    cursors = [None, *[str(one) for one in past[-3:]]]
    headers = [{"Last_Event_ID": one} if one else {} for one in cursors]
    readers = await asyncio.gather(*[gateway.open("run-1", **headers[n % 4]) for n in range(600)])
    assert gateway.components.metrics.history_reads <= 8
    await append(redis, "run-1", "execution:completed")
    for index, reader in enumerate(readers):
        seen = await reader.rest()
        assert len(seen) == [21, 3, 2, 1][index % 4]


async def test_history_larger_than_a_page(gateway: RunningGateway, redis: Redis) -> None:
    """A history of several pages is read to its end, in order, and goes on live."""
    given = [await append(redis, "run-1", n=n, text="x" * 90_000) for n in range(40)]
    reader = await gateway.open("run-1")
    given.append(await append(redis, "run-1", "execution:completed"))
    assert ids_of(await reader.rest()) == [str(one) for one in given]


async def test_invented_cursors_share_one_read(gateway: RunningGateway, redis: Redis) -> None:
    """However many different cursors are none of this history, their readers get all that is kept
    from one read; each learns what its own cursor is worth."""
    given = [await append(redis, "run-1", n=n) for n in range(3)]
    invented = [EventId(5, number) for number in range(1, 11)]
    invented += [EventId(given[0].epoch, number) for number in range(100, 110)]
    before = gateway.components.metrics.history_reads
    readers = [await gateway.open("run-1", Last_Event_ID=str(one)) for one in invented]
    for reader in readers:
        await reader.expect("stream:reset")
        assert [(await reader.expect("step:started")).id for _ in given] == [*map(str, given)]
    assert gateway.components.metrics.history_reads - before == 1


async def test_a_cursor_that_becomes_one(gateway: RunningGateway, redis: Redis) -> None:
    """A cursor that was invented is not remembered as such: once its event is there it counts."""
    last = await append(redis, "run-1")
    follows = str(last.next())
    reader = await gateway.open("run-1", Last_Event_ID=follows)
    await reader.expect("stream:reset")
    gateway.close_streams()
    assert await append(redis, "run-1") == last.next()
    reader = await gateway.open("run-1", Last_Event_ID=follows)
    third = await append(redis, "run-1")
    assert (await reader.expect("step:started")).id == str(third)
