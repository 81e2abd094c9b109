"""One task beats for all streams, spread over the interval."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

from gateway.events.ids import EventId
from gateway.events.sse_encoder import CloseReason
from gateway.fanout.heartbeat import Heartbeat
from gateway.fanout.hub import Hub, QueueBounds
from gateway.fanout.subscriber import Subscriber
from gateway.metrics import Metrics
from tests.fanout.support import EPOCH, burst, subscription, taken
from tests.principals import principal
from tests.support import eventually

INTERVAL = 0.5


def hub() -> Hub:
    return Hub(QueueBounds(100, 100_000), Metrics())


@asynccontextmanager
async def beating(heart: Heartbeat) -> AsyncIterator[None]:
    task = asyncio.get_running_loop().create_task(heart.run())
    try:
        yield
    finally:
        task.cancel()


def live(subscriber: Subscriber) -> Subscriber:
    """As one that has caught up with an execution of which nothing has happened."""
    subscriber.position = EventId(EPOCH, 0)
    subscriber.release(subscriber.opened_at)
    return subscriber


async def beat(subscriber: Subscriber) -> float:
    """The loop time at which the next heartbeat came."""
    data = await taken(subscriber)
    assert data.startswith(b"event: heartbeat\n")
    return asyncio.get_running_loop().time()


async def test_silence_is_told() -> None:
    """Whose stream was silent is told, so that it can be compared with its history."""
    silent: list[str] = []
    heart = Heartbeat(0.05, on_silence=silent.append)
    with subscription(hub(), principal("a")) as subscriber:
        heart.add(live(subscriber))
        async with beating(heart):
            await beat(subscriber)
    assert silent == ["a"]


async def test_every_interval() -> None:
    """A silent stream gets one heartbeat an interval, a little early, never two in a row."""
    heart = Heartbeat(INTERVAL)
    with subscription(hub(), principal("a")) as subscriber:
        async with beating(heart):
            heart.add(live(subscriber))
            times = [subscriber.opened_at] + [await beat(subscriber) for _ in range(3)]
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert min(gaps) > INTERVAL * 0.7


async def test_only_when_silent() -> None:
    """A stream that gets events gets no heartbeat between them."""
    heart = Heartbeat(INTERVAL)
    one = hub()
    with subscription(one, principal("a")) as subscriber:
        async with beating(heart):
            heart.add(live(subscriber))
            loop = asyncio.get_running_loop()
            until = loop.time() + INTERVAL * 2.5
            seqs = itertools.count(1)
            while loop.time() < until:
                seq = next(seqs)
                one.publish("a", burst(seq))
                assert subscriber.take() == f"<{seq}>".encode()
                await asyncio.sleep(INTERVAL / 20)
            last = subscriber.last_activity
            assert await beat(subscriber) - last > INTERVAL * 0.7


async def test_spread() -> None:
    """Streams that opened at one moment do not get their heartbeats at one moment."""
    heart = Heartbeat(INTERVAL)
    one = hub()
    with ExitStack() as stack:
        subscribers = [stack.enter_context(subscription(one, principal("a"))) for _ in range(200)]
        async with beating(heart):
            for subscriber in subscribers:
                heart.add(live(subscriber))
            times = await asyncio.gather(*[beat(subscriber) for subscriber in subscribers])
    ticks = Counter(int(time / (INTERVAL / 100)) for time in times)
    assert max(ticks.values()) < 100


async def test_left_and_ended_get_none() -> None:
    """A stream that has left or ended is let go of and gets no heartbeat."""
    heart = Heartbeat(0.05)
    one = hub()
    with subscription(one, principal("a")) as gone:
        heart.add(live(gone))
    with subscription(one, principal("a")) as ended, subscription(one, principal("a")) as silent:
        live(ended).offer(burst(1, terminal=True), 0.0)
        assert ended.take() == b"<1>"
        heart.add(ended)
        heart.add(live(silent))
        async with beating(heart):
            await beat(silent)
            await beat(silent)
        assert gone.waiting == ended.waiting == (0, 0)


async def test_greatest_age() -> None:
    """A stream older than allowed is closed with `max_age`."""
    heart = Heartbeat(0.05, max_age=0.1)
    with subscription(hub(), principal("a")) as subscriber:
        heart.add(live(subscriber))
        async with beating(heart):
            await eventually(lambda: subscriber.ended)
        assert subscriber.ended == CloseReason.MAX_AGE
