"""Sharing what was read: many streams, one read, and never a hole."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from redis.asyncio import Redis

from gateway.bus import replay as module
from gateway.bus.history import History, Page
from gateway.bus.replay import Replay
from gateway.errors import RedisUnavailable
from gateway.events.batch import EventBatch
from gateway.events.envelope import recorded
from gateway.events.ids import EventId
from gateway.metrics import Metrics
from tests.history_support import append, ids, payload
from tests.redis_process import RedisProcess
from tests.support import eventually


class Paused(History):
    """A history whose answers wait until they are let go."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis)
        self.go = asyncio.Event()
        self.asked = 0

    async def page(
        self, execution_id: str, cursor: EventId | None, *, only_valid: bool = False
    ) -> Page:
        self.asked += 1
        page = await super().page(execution_id, cursor, only_valid=only_valid)
        await self.go.wait()
        return page


@pytest.fixture
async def paused(redis: Redis) -> AsyncIterator[tuple[Paused, Replay]]:
    history = Paused(redis)
    replay = Replay(history, Metrics())
    yield history, replay
    await replay.stop()


def burst(event_id: EventId, terminal: bool = False) -> EventBatch:
    return EventBatch([recorded("step:started", payload("step:started"), event_id)], terminal)


def seqs(stretch: object) -> list[int]:
    return [event.id.seq for event in stretch.events]  # type: ignore[attr-defined]


async def test_one_read_for_all(paused: tuple[Paused, Replay], redis: Redis) -> None:
    """Streams that ask while a read is under way join it, and those after it are served from what
    it left."""
    history, replay = paused
    last = [await append(redis, "run-1", n=n) for n in range(3)][-1]
    asking = [asyncio.ensure_future(replay.after("run-1", None)) for _ in range(50)]
    await eventually(lambda: history.asked)
    history.go.set()
    for one in asking:
        assert seqs(await one) == [1, 2, 3]
    assert seqs(await replay.after("run-1", None)) == [1, 2, 3]
    assert seqs(await replay.after("run-1", EventId(last.epoch, 1))) == [2, 3]
    assert seqs(await replay.after("run-1", last)) == []
    assert history.asked == 1


async def test_the_tail_grows(paused: tuple[Paused, Replay], redis: Redis) -> None:
    """What the feed delivers is appended, duplicates are not, and the end stays the end."""
    history, replay = paused
    history.go.set()
    last = [await append(redis, "run-1", n=n) for n in range(3)][-1]
    await replay.after("run-1", None)
    replay.extend("run-1", burst(last))
    replay.extend("run-1", burst(last.next()))
    replay.extend("run-1", burst(last.next().next(), terminal=True))
    replay.extend("run-1", burst(EventId(last.epoch, 6)))
    stretch = await replay.after("run-1", last)
    assert seqs(stretch) == [4, 5]
    assert stretch.is_last
    assert history.asked == 1


async def test_a_hole_throws_it_away(paused: tuple[Paused, Replay], redis: Redis) -> None:
    """At the first event that does not follow, the next stream reads again."""
    history, replay = paused
    history.go.set()
    last = await append(redis, "run-1")
    doubts: tuple[Callable[[], None], ...] = (
        lambda: replay.extend("run-1", burst(EventId(last.epoch, 9))),
        lambda: replay.extend("run-1", burst(EventId(last.epoch + 1, 1))),
        lambda: replay.forget("run-1"),
        replay.forget_all,
    )
    for doubt in doubts:
        await replay.after("run-1", None)
        asked = history.asked
        await replay.after("run-1", None)
        assert history.asked == asked
        doubt()
        await replay.after("run-1", None)
        assert history.asked == asked + 1


async def test_joining_late_misses_nothing(paused: tuple[Paused, Replay], redis: Redis) -> None:
    """A stream that joins a read after an event was delivered gets that event too: from the read
    and what came meanwhile together, or by a read of its own."""
    history, replay = paused
    first = await append(redis, "run-1")
    early = asyncio.ensure_future(replay.after("run-1", None))
    await eventually(lambda: history.asked)
    missed = await append(redis, "run-1")
    replay.extend("run-1", burst(missed))
    late = asyncio.ensure_future(replay.after("run-1", None))
    await asyncio.sleep(0)
    history.go.set()
    assert seqs(await early) in ([1], [1, 2])
    assert seqs(await late) == [first.seq, missed.seq]


async def test_doubt_while_reading(paused: tuple[Paused, Replay], redis: Redis) -> None:
    """A subscription that was lost while a read was under way: nobody who joined it relies on
    it, and it leaves nothing behind."""
    history, replay = paused
    await append(redis, "run-1")
    reading = [asyncio.ensure_future(replay.after("run-1", None)) for _ in range(2)]
    await eventually(lambda: history.asked)
    replay.forget_all()
    history.go.set()
    await asyncio.gather(*reading)
    assert history.asked == 2


async def test_a_reader_that_leaves(paused: tuple[Paused, Replay], redis: Redis) -> None:
    """The stream that began a read may leave; those who joined still get it."""
    history, replay = paused
    await append(redis, "run-1")
    first = asyncio.ensure_future(replay.after("run-1", None))
    await eventually(lambda: history.asked)
    second = asyncio.ensure_future(replay.after("run-1", None))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    history.go.set()
    assert seqs(await second) == [1]


async def test_expiry(
    paused: tuple[Paused, Replay], redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tail is kept only as long as it is asked for, and only up to its bound."""
    monkeypatch.setattr(module, "TAIL_SECONDS", 0.1)
    history, replay = paused
    history.go.set()
    await append(redis, "run-1")
    await replay.after("run-1", None)
    await asyncio.sleep(0.06)
    await replay.after("run-1", None)
    assert replay.wants("run-1")
    await eventually(lambda: not replay.wants("run-1"))
    monkeypatch.setattr(module, "TAIL_BYTES", 10)
    await replay.after("run-1", None)
    assert not replay.wants("run-1")


async def test_redis_away(redis_process: object) -> None:
    """A read that fails says so to everybody who waits for it, and the next one is made anew."""
    process = redis_process()  # type: ignore[operator]
    assert isinstance(process, RedisProcess)
    async with Redis.from_url(process.url) as client:
        await append(client, "run-1")
        process.kill()
        replay = Replay(History(client), Metrics())
        asking = [replay.after("run-1", None) for _ in range(3)]
        answers = await asyncio.gather(*asking, return_exceptions=True)
        assert [type(one) for one in answers] == [RedisUnavailable] * 3
        process.start()
        assert seqs(await replay.after("run-1", None)) == []


async def test_what_is_no_event_is_left_out(redis: Redis) -> None:
    """An entry that somebody else wrote into the stream and is no event is counted and skipped."""
    metrics = Metrics()
    replay = Replay(History(redis), metrics)
    await redis.xadd("sse:{run-1}:events", {"event": "junk"}, id="5-1")
    await redis.xadd("sse:{run-1}:events", {"event": payload("a")}, id="5-2")
    assert seqs(await replay.after("run-1", None)) == [2]
    assert metrics.events_dropped == {"history": 1}


async def test_invented_cursors_share_one_read(paused: tuple[Paused, Replay], redis: Redis) -> None:
    """However many different cursors are none of this history, one after the other or at once:
    their readers get all that is kept from one read, with the verdict that is each one's own."""
    history = paused[0]
    metrics = Metrics()
    replay = Replay(history, metrics)
    history.go.set()
    given = [await append(redis, "run-1", n=n, limits={"max_bytes": 200}) for n in range(40)]
    epoch, first = given[0].epoch, EventId(*map(int, (await ids(redis, "run-1"))[0].split("-"))).seq
    assert first > 10
    invented = [
        *(EventId(5, number) for number in range(1, 11)),
        *(EventId(epoch, number) for number in range(100, 110)),
        *(EventId(epoch, number) for number in range(1, 11)),
    ]
    together = await asyncio.gather(*(replay.after("run-1", one) for one in invented[::2]))
    alone = [await replay.after("run-1", one) for one in invented[1::2]]
    for cursor, stretch in zip([*invented[::2], *invented[1::2]], [*together, *alone], strict=True):
        assert stretch.cursor_status == (
            "gap" if cursor.epoch == epoch and cursor.seq < first else "reset"
        )
        assert seqs(stretch) == list(range(first, 41))
    assert metrics.history_reads == 1


async def test_a_cursor_that_becomes_one(paused: tuple[Paused, Replay], redis: Redis) -> None:
    """A cursor that was invented is not remembered as such: once its event is there it counts."""
    history, replay = paused
    history.go.set()
    last = await append(redis, "run-1")
    assert (await replay.after("run-1", last.next())).cursor_status == "reset"
    replay.forget("run-1")
    assert await append(redis, "run-1") == last.next()
    stretch = await replay.after("run-1", last.next())
    assert (stretch.cursor_status, seqs(stretch)) == ("valid", [])
