"""One stream: its bounded queue, and the rule by which it is live or held."""

import pytest

from gateway.events.ids import EventId
from gateway.events.sse_encoder import CloseReason
from gateway.fanout.subscriber import COMPLETED, Subscriber
from tests.fanout.support import EPOCH, Reader, burst
from tests.principals import principal


def make(max_events: int = 3, max_bytes: int = 100, after: int | None = None) -> Subscriber:
    """A held subscriber, or a live one that has seen all up to *after*."""
    made = Subscriber(principal(), max_events=max_events, max_bytes=max_bytes, now=0.0)
    if after is not None:
        made.position = EventId(EPOCH, after)
        made.collect()
        made.release(0.0)
    return made


async def test_order_and_joining() -> None:
    """What waits is taken in order, as one write."""
    subscriber = make(after=0)
    assert subscriber.offer(burst(1), 1.0)
    assert subscriber.offer(burst(2, 3), 1.0)
    assert subscriber.take() == b"<1><2><3>"
    assert subscriber.position == EventId(EPOCH, 3)


async def test_straight_to_a_reader_that_keeps_up() -> None:
    """What a reader takes at once never enters the queue, and moves the position all the same."""
    subscriber = make(max_events=1, after=0)
    reader = Reader(subscriber)
    for seq in range(1, 6):
        assert subscriber.offer(burst(seq), 1.0)
        assert subscriber.waiting == (0, 0)
    assert reader.data == b"<1><2><3><4><5>"
    assert subscriber.position == EventId(EPOCH, 5)
    assert subscriber.last_activity == 1.0


async def test_behind_a_reader_the_queue_keeps_the_order() -> None:
    """What comes while the reader is behind waits, and nothing overtakes it."""
    subscriber = make(after=0)
    reader = Reader(subscriber)
    reader.behind = True
    assert subscriber.offer(burst(1), 1.0)
    reader.behind = False
    assert subscriber.offer(burst(2), 1.0)
    assert reader.data == b"<1><2>"
    assert subscriber.waiting == (0, 0)


@pytest.mark.parametrize("behind", [False, True])
async def test_only_what_is_new_of_a_burst(behind: bool) -> None:
    """A burst that was seen in part is written in part, at once or through the queue."""
    subscriber = make(after=3)
    reader = Reader(subscriber)
    reader.behind = behind
    assert subscriber.offer(burst(2, 3, 4, 5), 1.0)
    reader.catch_up()
    assert reader.data == b"<4><5>"
    assert not subscriber.held


FOLLOWS = [
    # position, offered, written, held after it
    (3, burst(4), b"<4>", False),
    (3, burst(4, 5), b"<4><5>", False),
    (3, burst(3), b"", False),
    (3, burst(1, 2, 3), b"", False),
    (3, burst(2, 3, 4, 5), b"<4><5>", False),
    (3, burst(5), b"", True),
    (3, burst(1, epoch=EPOCH + 1), b"", True),
    (3, burst(1, epoch=EPOCH - 1), b"", True),
    (3, burst(4, epoch=EPOCH + 1), b"", True),
    (3, burst(None), b"-", False),
]


@pytest.mark.parametrize(("position", "offered", "written", "held"), FOLLOWS)
def test_only_what_follows(position: int, offered: object, written: bytes, held: bool) -> None:
    """Live, only what follows the position is taken; what was seen is dropped; anything else
    holds the stream. Epochs are compared for equality only."""
    subscriber = make(after=position)
    subscriber.offer(offered, 1.0)  # type: ignore[arg-type]
    assert subscriber.take() == written
    assert subscriber.held == held


def test_no_position_takes_nothing() -> None:
    """Without a position nothing live is taken: only what history holds may become one."""
    subscriber = make()
    subscriber.collect()
    subscriber.release(0.0)
    assert not subscriber.held
    assert not subscriber.offer(burst(1), 1.0)
    assert subscriber.held
    assert subscriber.position is None


async def test_held_collects_and_releases() -> None:
    """What comes while history is read is delivered after it: no gap, no duplicate."""
    subscriber = make()
    subscriber.collect()
    subscriber.offer(burst(3), 1.0)
    subscriber.offer(burst(4), 1.0)
    subscriber.position = EventId(EPOCH, 3)  # history was read up to here
    subscriber.release(1.0)
    assert not subscriber.held
    assert subscriber.take() == b"<4>"


def test_release_into_a_hole() -> None:
    """What came while history was read does not follow it: held again, nothing delivered."""
    subscriber = make()
    subscriber.collect()
    subscriber.offer(burst(7), 1.0)
    subscriber.position = EventId(EPOCH, 3)
    subscriber.release(1.0)
    assert subscriber.held
    assert subscriber.take() == b""


def test_collecting_is_bounded() -> None:
    """Too much for the queue while history is read: history is to be read again."""
    subscriber = make(max_bytes=100)
    subscriber.collect()
    for seq in range(1, 6):
        subscriber.offer(burst(seq, size=50), 1.0)
    subscriber.position = EventId(EPOCH, 0)
    subscriber.release(1.0)
    assert subscriber.held


@pytest.mark.parametrize(
    ("first", "second"), [(burst(1, 2, 3), burst(4)), (burst(1, size=90), burst(2, size=11))]
)
async def test_full_queue_holds(first: object, second: object) -> None:
    """The queue is bounded by events and by bytes. A full one drops nothing: what waits is
    written, and the rest is caught up with from history."""
    subscriber = make(after=0)
    assert subscriber.offer(first, 1.0)  # type: ignore[arg-type]
    assert not subscriber.offer(second, 1.0)  # type: ignore[arg-type]
    assert subscriber.held
    assert subscriber.overrun
    assert subscriber.take() == first.data  # type: ignore[attr-defined]
    assert subscriber.take() == b""


async def test_larger_than_the_queue() -> None:
    """One burst larger than the whole queue is still delivered when nothing else waits."""
    subscriber = make(after=0)
    huge = burst(*range(1, 51), size=100)
    assert subscriber.offer(huge, 1.0)
    assert subscriber.take() == huge.data
    assert not subscriber.held


async def test_terminal() -> None:
    """After the terminal burst nothing is taken in, and the stream ends when it is written."""
    subscriber = make(after=0)
    assert subscriber.offer(burst(1, terminal=True), 1.0)
    assert not subscriber.offer(burst(2), 1.0)
    subscriber.close(CloseReason.DRAIN, 1000, 1.0)
    assert subscriber.take() == b"<1>"
    assert subscriber.take() == b""
    assert subscriber.ended == COMPLETED


async def test_close() -> None:
    """A closed stream writes what waits, then its reason, then ends; the first reason stays."""
    subscriber = make(after=0)
    subscriber.offer(burst(1), 1.0)
    subscriber.close(CloseReason.SLOW_READER, 1000, 1.0)
    subscriber.close(CloseReason.DRAIN, 1000, 1.0)
    subscriber.complete()
    data = subscriber.take()
    assert data.startswith(b"<1>")
    assert data.count(b"stream:closing") == 1
    assert subscriber.take() == b""
    assert subscriber.ended == CloseReason.SLOW_READER


def test_wakes_its_sink() -> None:
    """Whatever needs doing wakes the sink: what is sent, being held, the end."""
    woken: list[str] = []

    class Watch(Reader):
        def wake(self) -> None:
            super().wake()
            woken.append(f"{subscriber.held} {subscriber.ended}")

    subscriber = make(after=0)
    reader = Watch(subscriber)
    assert woken == ["False None"]
    subscriber.send(b"heartbeat", 2.0)
    subscriber.hold()
    subscriber.complete()
    assert woken[1:] == ["False None", "True None", "True completed"]
    assert reader.data == b"heartbeat"


AUDITS = [
    # position, last of history, missed something
    (None, None, False),
    (3, EventId(EPOCH, 3), False),
    (3, EventId(EPOCH, 2), False),
    (3, EventId(EPOCH, 4), True),
    (3, EventId(EPOCH + 1, 1), True),
    (3, None, True),
    (None, EventId(EPOCH, 1), True),
]


@pytest.mark.parametrize(("position", "last", "missed"), AUDITS)
def test_audit(position: int | None, last: EventId | None, missed: bool) -> None:
    """A live stream whose history has gone on without it, or is another one, is held."""
    subscriber = make(after=0)
    subscriber.position = EventId(EPOCH, position) if position is not None else None
    assert subscriber.audit(last) == missed
    assert subscriber.held == missed


def test_waiting_counts() -> None:
    """How much waits can be seen, and is nothing once it was taken."""
    subscriber = make(after=0)
    subscriber.offer(burst(1, 2), 1.0)
    assert subscriber.waiting == (2, 6)
    subscriber.take()
    assert subscriber.waiting == (0, 0)
