"""Catching up while other things happen: the order on the wire, and the last word."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from gateway.access.ownership import TokenOwnership
from gateway.bus.history import History, Page
from gateway.bus.replay import Replay
from gateway.events.batch import EventBatch
from gateway.events.envelope import recorded
from gateway.events.ids import EventId
from gateway.events.sse_encoder import CloseReason
from gateway.fanout.subscriber import Subscriber
from gateway.http.catch_up import CatchUp
from gateway.metrics import Metrics
from tests.history_support import append, payload
from tests.principals import principal
from tests.support import eventually, parse_sse


class Paused(History):
    """A history whose answers wait until they are let go."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis)
        self.go = asyncio.Event()
        self.asked = 0

    async def page(
        self, execution_id: str, cursor: EventId | None, *, only_valid: bool = False
    ) -> Page:
        page = await super().page(execution_id, cursor, only_valid=only_valid)
        self.asked += 1
        await self.go.wait()
        return page


class Sink:
    """Takes what is written to a reader."""

    def __init__(self) -> None:
        self.data = b""

    async def write(self, data: bytes) -> None:
        self.data += data

    @property
    def ids(self) -> list[str | None]:
        return [seen.id for seen in parse_sse(self.data)]


@pytest.fixture
async def stage(redis: Redis) -> AsyncIterator[tuple[Paused, CatchUp, Subscriber, Sink]]:
    history, metrics = Paused(redis), Metrics()
    replay = Replay(history, metrics)
    subscriber = Subscriber(principal(), max_events=10, max_bytes=10_000, now=0.0)
    yield history, CatchUp(replay, TokenOwnership().admit, metrics), subscriber, Sink()
    await replay.stop()


async def test_what_waits_comes_first(
    stage: tuple[Paused, CatchUp, Subscriber, Sink], redis: Redis
) -> None:
    """What came while history was read and follows it is written before what a second read, made
    for a hole behind it, brings."""
    history, catch_up, subscriber, sink = stage
    given = [await append(redis, "run-1")]
    running = asyncio.ensure_future(catch_up.run(subscriber, sink))
    await eventually(lambda: history.asked)
    given += [await append(redis, "run-1") for _ in range(3)]
    for event_id in (given[1], given[3]):
        event = recorded("step:started", payload("step:started"), event_id)
        subscriber.offer(EventBatch([event]), 1.0)
    history.go.set()
    await running
    assert sink.ids == [str(one) for one in given]
    assert not subscriber.held


async def test_closing_is_the_last_word(
    stage: tuple[Paused, CatchUp, Subscriber, Sink], redis: Redis
) -> None:
    """A stream that is closed while history is read for it writes no event after its reason."""
    history, catch_up, subscriber, sink = stage
    await append(redis, "run-1")
    running = asyncio.ensure_future(catch_up.run(subscriber, sink))
    await eventually(lambda: history.asked)
    subscriber.close(CloseReason.DRAIN, 1000, 1.0)
    history.go.set()
    await running
    assert sink.data == b""
    [closing] = parse_sse(subscriber.take() or b"")
    assert closing.event == "stream:closing"
    assert subscriber.take() == b""
