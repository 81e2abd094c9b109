"""All streams get their heartbeats, spread over the interval."""

import asyncio
import itertools
import random
from collections.abc import Collection
from contextlib import AbstractAsyncContextManager

import pytest

from gateway.events.sse_encoder import CloseReason
from gateway.fanout.heartbeat import Heartbeat
from gateway.ticker import Ticker
from tests.fanout.support import Stream, batch, make_hub, open_stream
from tests.harness.ticking import ticking
from tests.support import eventually

INTERVAL = 0.5


def beating(heart: Heartbeat) -> AbstractAsyncContextManager[Ticker]:
    return ticking(heart.tick_seconds, heart.tick)


class Clock:
    """The time of the event loop, which the test sets."""

    now = 1e9

    async def beaten(self, heart: Heartbeat, streams: Collection[Stream]) -> list[Stream]:
        """Which of *streams* get a heartbeat in the next tick."""
        before = [beats(stream) for stream in streams]
        if (work := heart.tick()) is not None:
            await work
        return [one for one, count in zip(streams, before, strict=True) if beats(one) > count]


def beats(stream: Stream) -> int:
    return stream.data.count(b"event: heartbeat\n")


async def beat(stream: Stream) -> float:
    """The loop time at which the next heartbeat was written: it may be seen later."""
    before = beats(stream)
    await eventually(lambda: beats(stream) > before)
    return stream.subscriber.written_at


async def test_silence_is_told() -> None:
    """Whose stream was silent is told, so that it can be compared with its history."""
    silent: list[str] = []
    heart = Heartbeat(0.05, on_silence=silent.append)
    stream = await open_stream(make_hub()[0])
    heart.add(stream.subscriber)
    async with beating(heart):
        await beat(stream)
    assert set(silent) == {"run-1"}


async def test_every_interval() -> None:
    """A silent stream gets one heartbeat an interval, a little early, never two in a row."""
    heart = Heartbeat(INTERVAL)
    stream = await open_stream(make_hub()[0])
    async with beating(heart):
        heart.add(stream.subscriber)
        times = [stream.subscriber.opened_at] + [await beat(stream) for _ in range(3)]
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert min(gaps) > INTERVAL * 0.7


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: made.now)
    return made


async def test_only_when_silent(clock: Clock) -> None:
    """A stream that gets events gets no heartbeat between them."""
    heart, (hub, _) = Heartbeat(INTERVAL), make_hub()
    stream = await open_stream(hub)
    heart.add(stream.subscriber)
    for number in range(1, 51):
        clock.now += INTERVAL / 20
        hub.publish("run-1", batch(number), is_first_known=True)
        assert not await clock.beaten(heart, [stream])
    last = clock.now
    while not await clock.beaten(heart, [stream]):
        clock.now += INTERVAL / 20
    assert clock.now - last > INTERVAL * 0.7


async def test_no_silence_is_longer_than_the_interval(clock: Clock) -> None:
    """With the interval and the ticks of a real gateway, whenever streams have opened, and though
    ticks come late or not at all for a moment; and none comes more than a quarter early."""
    chance = random.Random(5)
    heart, (hub, _) = Heartbeat(15), make_hub()
    last: dict[Stream, float] = {}
    gaps = []
    for number in range(400):
        clock.now += heart.tick_seconds + chance.uniform(0, 0.02)
        if number < 100:
            stream = await open_stream(hub)
            heart.add(stream.subscriber)
            last[stream] = clock.now
        if number % 50 == 49:
            # The last one is still at work: this one is left out.
            continue
        for stream in await clock.beaten(heart, last):
            gaps.append(clock.now - last[stream])
            last[stream] = clock.now
    assert len(gaps) > 500
    assert 15 * 0.75 < min(gaps) < max(gaps) <= 15


async def test_spread(clock: Clock) -> None:
    """Streams that opened at one moment do not get their heartbeats at one moment."""
    heart, (hub, _) = Heartbeat(15), make_hub()
    streams = [await open_stream(hub) for _ in range(200)]
    for stream in streams:
        heart.add(stream.subscriber)
    at_once: list[int] = []
    while sum(at_once) < len(streams):
        clock.now += heart.tick_seconds
        at_once.append(len(await clock.beaten(heart, streams)))
    assert max(at_once) < 50


async def test_left_and_ended_get_none() -> None:
    """A stream that has left or is closing is let go of and gets no heartbeat."""
    heart = Heartbeat(0.05)
    hub, _ = make_hub()
    gone, ended, silent = [await open_stream(hub) for _ in range(3)]
    gone.leave()
    ended.wire.room = 0
    ended.subscriber.close(CloseReason.DRAIN)
    for stream in (gone, ended, silent):
        heart.add(stream.subscriber)
    async with beating(heart):
        await beat(silent)
        await beat(silent)
    ended.wire.read_on()
    assert beats(gone) == beats(ended) == 0


async def test_greatest_age() -> None:
    """A stream older than allowed is closed with `max_age`."""
    heart = Heartbeat(0.05, max_age=0.1)
    stream = await open_stream(make_hub()[0])
    heart.add(stream.subscriber)
    async with beating(heart):
        await eventually(lambda: stream.wire.ended)
    assert b'"reason":"max_age"' in stream.data
