"""The log of an execution: one look-up for all its streams, and never a hole."""

import asyncio
import sys

import pytest

from gateway.events.ids import EventId
from gateway.fanout import kept, state
from gateway.fanout.state import State
from tests.fanout.support import (
    EPOCH,
    NoPermit,
    batch,
    event,
    make_hub,
    open_stream,
)
from tests.harness.principals import principal
from tests.harness.ticking import ticking
from tests.support import eventually


async def test_one_read_for_all() -> None:
    """Streams that come while a read is under way share it, and those after it need none."""
    hub, histories = make_hub()
    histories.append(*[event(seq) for seq in (1, 2, 3)])
    histories.go.clear()
    opening = [asyncio.ensure_future(open_stream(hub)) for _ in range(50)]
    await eventually(lambda: histories.asked)
    histories.go.set()
    for stream in await asyncio.gather(*opening):
        assert stream.data == b"<1><2><3>"
    for cursor, rest in ((None, b"<1><2><3>"), (1, b"<2><3>"), (3, b"")):
        assert (await open_stream(hub, cursor=cursor)).data == rest
    assert len(histories.asked) == 1


async def test_a_first_page_is_joined_once_for_a_cursor() -> None:
    """Streams that open with the same cursor share the bytes, until the next event."""
    hub, histories = make_hub()
    histories.append(event(1), event(2))
    stream = await open_stream(hub)
    one, other = [hub.add(principal(), None, NoPermit()).opening.known_page() for _ in range(2)]
    assert one is not None
    assert other is not None
    assert one.frames is other.frames
    hub.publish("run-1", batch(3))
    later = hub.add(principal(), None, NoPermit()).opening.known_page()
    assert later is not None
    assert later.frames == stream.data == b"<1><2><3>"


async def test_a_hole_that_cannot_be_read_cuts_its_streams_off(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """They would else stay open, and get nothing more."""
    hub, histories = make_hub()
    stream = await open_stream(hub)
    hub.publish("run-1", batch(1), is_first_known=True)
    histories.append(*[event(seq) for seq in range(1, 4)])
    histories.fault = ValueError("It is a bug.")
    hub.publish("run-1", batch(3))
    await eventually(lambda: stream.state is State.CLOSED)
    assert "What the streams of run-1 lack cannot be read." in caplog.text
    assert "It is a bug." in caplog.text
    histories.fault = None
    assert (await open_stream(hub, cursor=1)).data == b"<2><3>"


async def test_a_page_is_kept_for_others_only_until_the_next_event() -> None:
    """It may be as large as all that is kept, and no more than that is counted then."""
    hub, histories = make_hub()
    histories.append(event(1), event(2))
    await open_stream(hub)
    page = hub.add(principal(), None, NoPermit()).opening.known_page()
    holders = sys.getrefcount(page)
    hub.publish("run-1", batch(3))
    assert sys.getrefcount(page) == holders - 1


async def test_later_readers_get_what_came_since() -> None:
    """What the log writes is kept for those who come later, to the end and not beyond it."""
    hub, histories = make_hub()
    histories.append(event(1))
    first = await open_stream(hub)
    hub.publish("run-1", batch(1))
    hub.publish("run-1", batch(2))
    hub.publish("run-1", batch(3, terminal=True))
    hub.publish("run-1", batch(4))
    assert first.data == b"<1><2><3>"
    late = await open_stream(hub, cursor=1, live=False)
    await eventually(lambda: late.wire.ended)
    assert late.data == b"<2><3>"
    assert len(histories.asked) == 1


async def test_a_hole_is_repaired_once_for_all_who_stay_live() -> None:
    """What is missing is read once and written to all at the tip, in order; none leaves it, and
    what comes meanwhile waits."""
    hub, histories = make_hub()
    streams = [await open_stream(hub, chunked=chunked) for chunked in (False, False, False)]
    hub.publish("run-1", batch(1), is_first_known=True)
    histories.append(*[event(seq) for seq in range(1, 5)])
    histories.go.clear()
    asked = len(histories.asked)
    hub.publish("run-1", batch(3))
    hub.publish("run-1", batch(4))
    hub.publish("run-1", batch(5))
    histories.append(event(5))
    await eventually(lambda: len(histories.asked) > asked)
    assert {one.state for one in streams} == {State.LIVE}
    histories.go.set()
    for one in streams:
        await eventually(lambda one=one: one.data == b"<1><2><3><4><5>")  # type: ignore[misc]
    assert len(histories.asked) == asked + 1
    assert hub.metrics.queue_overruns == 0


async def test_a_trimmed_hole_is_told_to_all_and_ends_none() -> None:
    """What history has no more is a gap, the same bytes for all at the tip. A hole and two batches
    behind it are no overrun, and no reason to close."""
    hub, histories = make_hub(events=1)
    streams = [await open_stream(hub) for _ in range(2)]
    hub.publish("run-1", batch(1), is_first_known=True)
    histories.append(event(4), event(5))
    hub.publish("run-1", batch(4))
    hub.publish("run-1", batch(5))
    for one in streams:
        await eventually(lambda one=one: one.data.endswith(b"<4><5>"))  # type: ignore[misc]
        assert one.data.count(b"event: stream:gap") == 1
        assert b'"missed":2' in one.data
        assert one.state is State.LIVE
    assert (hub.metrics.gaps, hub.metrics.queue_overruns) == (2, 0)
    for cursor, missed in ((None, b'"missed":3'), (1, b'"missed":2')):
        late = await open_stream(hub, cursor=cursor)
        assert missed in late.data, "who comes later is told of it too"
        assert late.data.endswith(b"<4><5>")


async def test_only_what_history_holds_moves_the_tip() -> None:
    """An id that does not continue and that history does not hold is looked up once and shown to
    nobody."""
    hub, histories = make_hub()
    histories.append(event(1))
    stream = await open_stream(hub)
    asked = len(histories.asked)
    hub.publish("run-1", batch(7))
    await eventually(lambda: len(histories.asked) == asked + 1)
    hub.publish("run-1", batch(9, epoch=EPOCH + 5))
    hub.publish("run-1", batch(2))
    await eventually(lambda: stream.data == b"<1><2>")


AUDITS = [
    (EventId(EPOCH, 2), False),
    (EventId(EPOCH, 3), False),
    (EventId(EPOCH, 4), True),
    (EventId(EPOCH + 1, 1), True),
]


@pytest.mark.parametrize(("last", "reads"), AUDITS)
async def test_an_audit_finds_what_was_missed(last: EventId, reads: bool) -> None:
    """A log whose history has gone on without it, or is another one, reads it."""
    hub, histories = make_hub()
    histories.append(*[event(seq) for seq in (1, 2, 3)])
    stream = await open_stream(hub)
    asked = len(histories.asked)
    if reads:
        histories.append(event(last.seq, epoch=last.epoch))
    hub.audit("run-1", last, hub.session)
    await asyncio.sleep(0.01)
    assert (len(histories.asked) > asked) == reads
    if reads:
        await eventually(lambda: stream.data.endswith(f"<{last.seq}>".encode()))


async def test_joining_a_read_late_misses_nothing() -> None:
    """A stream that joins a read after an event was delivered gets that event too."""
    hub, histories = make_hub()
    histories.append(event(1))
    histories.go.clear()
    early = asyncio.ensure_future(open_stream(hub))
    await eventually(lambda: histories.asked)
    hub.publish("run-1", batch(2))
    histories.append(event(2))
    late = asyncio.ensure_future(open_stream(hub))
    await asyncio.sleep(0)
    histories.go.set()
    for stream in await asyncio.gather(early, late):
        await eventually(lambda stream=stream: stream.data == b"<1><2>")  # type: ignore[misc]


async def test_a_reader_that_leaves_takes_no_read_along() -> None:
    """The stream that began a read may leave; those who joined still get it."""
    hub, histories = make_hub()
    histories.append(event(1))
    histories.go.clear()
    first = asyncio.ensure_future(open_stream(hub))
    await eventually(lambda: histories.asked)
    second = asyncio.ensure_future(open_stream(hub))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    histories.go.set()
    assert (await second).data == b"<1>"


async def test_redis_away_while_a_hole_is_repaired(monkeypatch: pytest.MonkeyPatch) -> None:
    """A repair goes on until Redis answers; streams stay live meanwhile, and miss nothing."""
    monkeypatch.setattr(state, "_PAUSE", (0.01, 0.02))
    hub, histories = make_hub()
    histories.append(event(1))
    stream = await open_stream(hub)
    histories.away = True
    histories.append(event(2), event(3))
    hub.publish("run-1", batch(3))
    asked = len(histories.asked)
    await eventually(lambda: len(histories.asked) > asked + 2)
    assert stream.state is State.LIVE
    histories.away = False
    await eventually(lambda: stream.data == b"<1><2><3>")


async def test_too_much_while_history_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for a read is bounded; what was left out is read after it."""
    monkeypatch.setattr(kept, "_WAITING_BYTES", 100)
    hub, histories = make_hub()
    histories.append(event(1))
    histories.go.clear()
    opening = asyncio.ensure_future(open_stream(hub))
    await eventually(lambda: histories.asked)
    for seq in range(2, 6):
        histories.append(event(seq, size=50))
        hub.publish("run-1", batch(seq, size=50))
    histories.go.set()
    stream = await opening
    await eventually(lambda: stream.data.split() == [b"<1><2>", b"<3>", b"<4>", b"<5>"])


async def test_kept_only_as_long_as_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events go ten seconds after somebody last asked for them, the log with its last stream."""
    monkeypatch.setattr(kept, "KEPT_SECONDS", 0.1)
    hub, histories = make_hub()
    histories.append(event(1))
    stream = await open_stream(hub)
    assert hub.kept.bytes > 0
    stream.leave()
    await asyncio.sleep(0)
    assert hub.watches("run-1")
    async with ticking(0.02, hub.kept.tick):
        await eventually(lambda: hub.kept.bytes == 0)
    assert not hub.watches("run-1")


async def test_all_executions_together_keep_no_more_than_is_allowed() -> None:
    """The least recently asked for is dropped first; its streams live on."""
    hub, histories = make_hub(kept_bytes=1000)
    streams = {}
    for name in ("a", "b", "c"):
        histories.append(event(1, size=200), execution_id=name)
        streams[name] = await open_stream(hub, principal(name))
    assert hub.kept.bytes <= 1000
    asked = len(histories.asked)
    await open_stream(hub, principal("c"))
    assert len(histories.asked) == asked
    await open_stream(hub, principal("a"))
    assert len(histories.asked) == asked + 1
    hub.publish("a", batch(2))
    assert streams["a"].data.endswith(b"<2>")


async def test_a_page_that_is_ahead_is_news_for_all() -> None:
    """A stream that comes reads more than the log knew of: all at the tip get it at once."""
    hub, histories = make_hub()
    histories.append(event(1))
    old = await open_stream(hub)
    histories.append(event(2))
    hub.subscribed()
    new = await open_stream(hub)
    assert new.data == old.data == b"<1><2>"
    hub.publish("run-1", batch(2))
    hub.publish("run-1", batch(3))
    assert new.data == old.data == b"<1><2><3>"
