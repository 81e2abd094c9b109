"""The bounded queue of one stream."""

import asyncio

import pytest

from gateway.events.reasons import CloseReason
from gateway.fanout.subscriber import COMPLETED, Burst, Subscriber


def make(max_events: int = 3, max_bytes: int = 100) -> Subscriber:
    return Subscriber("run-1", "acme", max_events=max_events, max_bytes=max_bytes, now=0.0)


def burst(text: str, events: int = 1, terminal: bool = False) -> Burst:
    return Burst(text.encode(), events, terminal)


async def test_order_and_joining() -> None:
    """What waits is taken in order, as one write."""
    subscriber = make()
    assert subscriber.offer(burst("a"), 1.0)
    assert subscriber.offer(burst("b"), 1.0)
    assert await subscriber.take() == b"ab"


async def test_waiting_reader_is_woken() -> None:
    """A reader that waits gets the next burst at once."""
    subscriber = make()
    taking = asyncio.ensure_future(subscriber.take())
    await asyncio.sleep(0)
    assert not taking.done()
    subscriber.offer(burst("a"), 1.0)
    assert await taking == b"a"


async def test_cancelled_reader_loses_nothing() -> None:
    """A take that is cancelled leaves the queue whole and wakeable."""
    subscriber = make()
    taking = asyncio.ensure_future(subscriber.take())
    await asyncio.sleep(0)
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    subscriber.offer(burst("a"), 1.0)
    assert await subscriber.take() == b"a"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (burst("x", events=3), burst("y")),
        (burst("x" * 90), burst("y" * 11)),
    ],
)
async def test_full(first: Burst, second: Burst) -> None:
    """The queue is bounded by events and by bytes; what does not fit is refused, not dropped."""
    subscriber = make()
    assert subscriber.offer(first, 1.0)
    assert not subscriber.offer(second, 1.0)
    assert await subscriber.take() == first.data
    assert subscriber.offer(second, 1.0)


async def test_larger_than_the_queue() -> None:
    """One burst larger than the whole queue is still delivered when nothing else waits."""
    subscriber = make()
    huge = burst("x" * 1000, events=50)
    assert subscriber.offer(huge, 1.0)
    assert not subscriber.offer(burst("y"), 1.0)
    assert await subscriber.take() == huge.data


async def test_terminal() -> None:
    """After the terminal burst nothing is taken in, and the stream ends when it is written."""
    subscriber = make()
    assert subscriber.offer(burst("end", terminal=True), 1.0)
    assert not subscriber.offer(burst("late"), 1.0)
    subscriber.close(CloseReason.DRAIN, 1000, 1.0)
    assert await subscriber.take() == b"end"
    assert await subscriber.take() is None
    assert subscriber.ended == COMPLETED


async def test_close() -> None:
    """A closed stream writes what waits, then its reason, then ends; the first reason stays."""
    subscriber = make()
    subscriber.offer(burst("a"), 1.0)
    subscriber.close(CloseReason.SLOW_READER, 1000, 1.0)
    subscriber.close(CloseReason.DRAIN, 1000, 1.0)
    data = await subscriber.take()
    assert data is not None
    assert data.startswith(b"a")
    assert data.count(b"stream:closing") == 1
    assert await subscriber.take() is None
    assert subscriber.ended == CloseReason.SLOW_READER


async def test_waiting_counts() -> None:
    """How much waits can be seen, and is nothing once it was taken."""
    subscriber = make()
    subscriber.offer(burst("abc", events=2), 1.0)
    assert subscriber.waiting == (2, 3)
    await subscriber.take()
    assert subscriber.waiting == (0, 0)
