"""All streams get their heartbeats, spread over the interval."""

import asyncio
import itertools
from collections import Counter
from contextlib import AbstractAsyncContextManager

from gateway.events.sse_encoder import CloseReason
from gateway.fanout.heartbeat import Heartbeat
from gateway.ticker import Ticker
from tests.fanout.support import Stream, burst, make_hub, open_stream
from tests.harness.ticking import ticking
from tests.support import eventually

INTERVAL = 0.5


def beating(heart: Heartbeat) -> AbstractAsyncContextManager[Ticker]:
    return ticking(heart.tick_seconds, heart.tick)


def beats(stream: Stream) -> int:
    return stream.data.count(b"event: heartbeat\n")


async def beat(stream: Stream) -> float:
    """The loop time at which the next heartbeat came."""
    before = beats(stream)
    await eventually(lambda: beats(stream) > before)
    return asyncio.get_running_loop().time()


async def test_silence_is_told() -> None:
    """Whose stream was silent is told, so that it can be compared with its history."""
    silent: list[str] = []
    heart = Heartbeat(0.05, on_silence=silent.append)
    stream = await open_stream(make_hub()[0])
    heart.add(stream.subscriber)
    async with beating(heart):
        await beat(stream)
    assert silent == ["run-1"]


async def test_every_interval() -> None:
    """A silent stream gets one heartbeat an interval, a little early, never two in a row."""
    heart = Heartbeat(INTERVAL)
    stream = await open_stream(make_hub()[0])
    async with beating(heart):
        heart.add(stream.subscriber)
        times = [stream.subscriber.opened_at] + [await beat(stream) for _ in range(3)]
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert min(gaps) > INTERVAL * 0.7


async def test_only_when_silent() -> None:
    """A stream that gets events gets no heartbeat between them."""
    heart = Heartbeat(INTERVAL)
    hub, _ = make_hub()
    stream = await open_stream(hub)
    async with beating(heart):
        heart.add(stream.subscriber)
        loop = asyncio.get_running_loop()
        until = loop.time() + INTERVAL * 2.5
        seqs = itertools.count(1)
        while loop.time() < until:
            hub.publish("run-1", burst(next(seqs)), recorded_here=True)
            await asyncio.sleep(INTERVAL / 20)
        last = stream.subscriber.silent_since()
        assert beats(stream) == 0
        assert await beat(stream) - last > INTERVAL * 0.7


async def test_spread() -> None:
    """Streams that opened at one moment do not get their heartbeats at one moment."""
    heart = Heartbeat(INTERVAL)
    hub, _ = make_hub()
    streams = [await open_stream(hub) for _ in range(200)]
    async with beating(heart):
        for stream in streams:
            heart.add(stream.subscriber)
        times = await asyncio.gather(*[beat(stream) for stream in streams])
    ticks = Counter(int(time / (INTERVAL / 100)) for time in times)
    assert max(ticks.values()) < 100


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
