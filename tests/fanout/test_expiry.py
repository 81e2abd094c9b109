"""Streams end with their token: warned before, spread after, and never too early."""

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncIterator, Callable

import pytest

from gateway.events.sse_encoder import RETRY_MS, CloseReason
from gateway.fanout.expiry import SPREAD_SECONDS, WARNING_SECONDS, Expiry
from gateway.principal import Principal
from tests.fanout.support import Stream, attached, make_hub
from tests.harness.principals import FOR_EVER, principal
from tests.harness.sse import Seen, parse_sse
from tests.harness.ticking import ticking
from tests.support import eventually

START = 1_800_000_000.0
"""When these tests begin by their own clock, in seconds since the epoch."""


class Stage:
    """An expiry that runs by a clock which the test sets."""

    def __init__(self) -> None:
        self.now = START
        self.expiry = Expiry(lambda: self.now)
        self.hub, self.histories = make_hub()

    def stream(self, expires_in: float) -> Stream:
        """A stream whose token expires *expires_in* seconds from now."""
        return self.add(principal(expires_at=self.now + expires_in))

    def add(self, who: Principal) -> Stream:
        stream = attached(self.hub, who)
        self.expiry.add(stream.subscriber)
        return stream

    async def ticked(self) -> None:
        """Wait until all that is due at the end of another spread has been seen to, which is when
        one that was due before is closed."""
        witness = self.stream(-1.0)
        self.now += SPREAD_SECONDS
        await eventually(lambda: witness.reason)

    async def until(self, moment: float) -> None:
        """Set the clock to *moment* seconds after the start, and wait for a tick there."""
        self.now = START + moment - SPREAD_SECONDS
        await self.ticked()


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    async with ticking(0.05, made.expiry.tick):
        yield made


def told(stream: Stream) -> list[Seen]:
    """What was sent to it since the last look."""
    data = stream.data
    stream.wire.received.clear()
    return parse_sse(data)


async def test_warned_then_closed(stage: Stage) -> None:
    """A stream is warned once, a minute before its token expires, and closed when it does."""
    subscriber = stage.stream(3600)
    await stage.until(3600 - WARNING_SECONDS - 1)
    assert told(subscriber) == []
    await stage.until(3600 - WARNING_SECONDS + 1)
    [warning] = told(subscriber)
    assert (warning.event, warning.id) == ("stream:expiring", None)
    assert warning.json()["expires_at"] == "2027-01-15T09:00:00.000Z"
    assert warning.json()["expires_in_seconds"] == pytest.approx(WARNING_SECONDS, abs=4)
    await stage.until(3600 - 1)
    assert told(subscriber) == []
    assert subscriber.reason is None
    await stage.until(3600 + SPREAD_SECONDS + 1)
    [closing] = told(subscriber)
    assert (closing.event, closing.json()["reason"]) == ("stream:closing", "token_expired")
    assert RETRY_MS[0] <= closing.json()["retry_ms"] <= RETRY_MS[1]
    assert subscriber.reason == CloseReason.TOKEN_EXPIRED


async def test_warned_at_once(stage: Stage) -> None:
    """A stream with less than a minute left is warned at once, with what is left."""
    subscriber = stage.stream(20)
    await eventually(lambda: subscriber.data)
    [warning] = told(subscriber)
    assert warning.json()["expires_in_seconds"] == 20


async def test_reaches_a_reader_that_keeps_up(stage: Stage) -> None:
    """Warning and end are written at once to a reader that keeps up."""
    reader = stage.stream(20)
    await eventually(lambda: b"stream:expiring" in reader.data)
    stage.now += 20 + SPREAD_SECONDS + 1
    await eventually(lambda: b"token_expired" in reader.data)


async def test_spread(stage: Stage) -> None:
    """Streams whose tokens expire together end over a few seconds, none before its time."""
    streams = [stage.stream(100) for _ in range(400)]
    retries: set[object] = set()

    def ended() -> int:
        return sum(one.reason is not None for one in streams)

    counts = []
    for moment in (99.9, 101.0, 102.0, 103.5):
        await stage.until(moment)
        counts.append(ended())
    assert counts[0] == 0
    assert 50 < counts[1] < 220 < counts[2] < 350
    assert counts[3] == 400
    for one in streams:
        retries |= {seen.retry for seen in told(one) if seen.event == "stream:closing"}
    assert len(retries) > 100


async def test_expired_within_the_leeway(stage: Stage) -> None:
    """A token that is taken for the leeway alone ends its stream at once, without a warning."""
    subscriber = stage.stream(-10)
    await eventually(lambda: subscriber.reason)
    assert [seen.event for seen in told(subscriber)] == ["stream:closing"]


async def test_clock_that_jumps(stage: Stage) -> None:
    """A clock that is set forth or back closes no stream whose end lies ahead, and one that was
    set back still closes it in the end."""
    ahead = stage.stream(1000)
    endless = stage.add(principal(expires_at=FOR_EVER))
    for moment in (900.0, -10_000_000.0, 930.0, -100.0):
        await stage.until(moment)
        assert told(ahead) == []
    for moment in (960.0, 0.0, 999.0):
        await stage.until(moment)
        assert ahead.reason is None
    assert [seen.event for seen in told(ahead)] == ["stream:expiring"]
    await stage.until(1000 + SPREAD_SECONDS + 1)
    assert ahead.reason == CloseReason.TOKEN_EXPIRED
    assert endless.reason is None


async def test_suspended(stage: Stage) -> None:
    """A process that slept over warning and end closes at its next tick, without the warning."""
    subscriber = stage.stream(3600)
    stage.now += 86_400
    await eventually(lambda: subscriber.reason)
    assert [seen.event for seen in told(subscriber)] == ["stream:closing"]


async def test_nothing_after_the_end(stage: Stage) -> None:
    """A stream that was closed for another reason gets no warning; an open one does."""
    closed, opened = stage.stream(20), stage.stream(20)
    closed.subscriber.close(CloseReason.DRAIN)
    await eventually(lambda: opened.data)
    await stage.until(20 + SPREAD_SECONDS + 1)
    assert [seen.event for seen in told(closed)] == ["stream:closing"]
    assert closed.reason == CloseReason.DRAIN
    assert [seen.event for seen in told(opened)] == ["stream:expiring", "stream:closing"]


@pytest.mark.parametrize("left", ["before the warning", "after it"])
async def test_who_left_is_told_nothing(stage: Stage, left: str) -> None:
    """A stream that is removed gets neither warning nor end, at whatever stage it left."""
    gone, stays = stage.stream(100), stage.stream(100)
    if left == "after it":
        await stage.until(50)
        assert [seen.event for seen in told(gone)] == ["stream:expiring"]
    stage.expiry.remove(gone.subscriber)
    stage.expiry.remove(gone.subscriber)
    await stage.until(100 + SPREAD_SECONDS + 1)
    assert told(gone) == []
    assert gone.reason is None
    assert stays.reason == CloseReason.TOKEN_EXPIRED


@pytest.mark.parametrize("until", [lambda n: 3600 + n, lambda n: 0.001 * n], ids=["later", "soon"])
async def test_no_growth_by_churn(stage: Stage, until: Callable[[int], float]) -> None:
    """10,000 streams that came and left, each with an expiry of its own, leave nothing behind."""

    async def churn(streams: int) -> None:
        for number in range(0, streams, 100):
            some = [stage.stream(until(number + one)) for one in range(100)]
            assert len(stage.expiry) == 100
            await asyncio.sleep(0)
            for one in some:
                stage.expiry.remove(one.subscriber)
                one.leave()
        assert len(stage.expiry) == 0
        await eventually(lambda: len(stage.hub) == 0)
        stage.hub.subscribed()
        stage.histories.asked.clear()

    await churn(1000)
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        await churn(10_000)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 100_000
