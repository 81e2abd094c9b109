"""History as the logs read it."""

from collections.abc import Callable

import pytest
from redis.asyncio import Redis

from gateway.bus.history import History
from gateway.bus.pages import Pages
from gateway.errors import RedisUnavailable
from gateway.events.ids import EventId
from gateway.metrics import Metrics
from tests.harness.history import append, payload
from tests.harness.redis_process import RedisProcess


async def test_what_is_no_event_is_left_out(redis: Redis) -> None:
    """An entry that somebody else wrote into the stream and is no event is counted and skipped; a
    reader that has got the page stands behind it."""
    metrics = Metrics()
    pages = Pages(History(redis), metrics)
    await redis.xadd("sse:{run-1}:events", {"event": payload("a")}, id="5-1")
    await redis.xadd("sse:{run-1}:events", {"event": "junk"}, id="5-2")
    page = await pages.page("run-1", None)
    assert [one.id for one in page.events] == [EventId(5, 1)]
    assert page.end == EventId(5, 2)
    assert metrics.events_dropped == {"history": 1}
    assert metrics.history_reads == 1


async def test_where_a_page_ends(redis: Redis) -> None:
    """Without entries, a kept cursor is where its reader stands, and any other one is nowhere."""
    pages = Pages(History(redis), Metrics())
    assert (await pages.page("run-1", None)).end is None
    assert (await pages.page("run-1", EventId(1, 1))).end is None
    last = await append(redis, "run-1")
    assert (await pages.page("run-1", last)).end == last
    end = await append(redis, "run-1", "execution:completed")
    late = await append(redis, "run-1")
    assert (await pages.page("run-1", None)).end == end
    page = await pages.page("run-1", end)
    assert (list(page.events), page.end) == ([], end)
    assert (await pages.page("run-1", late)).end == late


async def test_first(redis: Redis) -> None:
    """An id that no history holds asks for the first one that is kept, also of a former epoch; None
    where nothing is."""
    pages = Pages(History(redis), Metrics())

    async def first(execution_id: str) -> EventId | None:
        page = await pages.page(execution_id, EventId(0, 0), only_valid=True)
        assert (page.cursor_status, list(page.events)) == ("reset", [])
        return page.first_kept

    assert await first("run-1") is None
    await redis.xadd("sse:{run-1}:events", {"event": payload("a"), "bytes": "1"}, id="5-3")
    await append(redis, "run-1")
    assert await first("run-1") == EventId(5, 3)
    await redis.set("sse:{run-2}:events", "of a wrong type")
    with pytest.raises(RedisUnavailable):
        await first("run-2")


async def test_redis_away(redis_process: Callable[..., RedisProcess]) -> None:
    """A Redis that does not answer is an error, and is asked again the next time."""
    process = redis_process()
    async with Redis.from_url(process.url) as client:
        history = History(client)
        pages = Pages(history, Metrics())
        process.kill()
        with pytest.raises(RedisUnavailable):
            await pages.page("run-1", None)
        process.start()
        assert (await pages.page("run-1", None)).end is None
