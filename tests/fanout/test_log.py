"""The log of an execution: one look-up for all its streams, and never a hole."""

import asyncio

import pytest

from gateway.errors import ExecutionNotFound
from gateway.events.ids import EventId
from gateway.events.sse_encoder import CloseReason
from gateway.fanout import kept, log, state
from gateway.fanout.hub import Hub
from gateway.fanout.state import State
from tests.fanout.support import (
    EPOCH,
    Histories,
    NoPermit,
    Stream,
    burst,
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
    hub.publish("run-1", burst(3))
    later = hub.add(principal(), None, NoPermit()).opening.known_page()
    assert later is not None
    assert later.frames == stream.data == b"<1><2><3>"


async def test_later_readers_get_what_came_since() -> None:
    """What the log writes is kept for those who come later, to the end and not beyond it."""
    hub, histories = make_hub()
    histories.append(event(1))
    first = await open_stream(hub)
    hub.publish("run-1", burst(1))
    hub.publish("run-1", burst(2))
    hub.publish("run-1", burst(3, terminal=True))
    hub.publish("run-1", burst(4))
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
    hub.publish("run-1", burst(1), recorded_here=True)
    histories.append(*[event(seq) for seq in range(1, 5)])
    histories.go.clear()
    asked = len(histories.asked)
    hub.publish("run-1", burst(3))
    hub.publish("run-1", burst(4))
    hub.publish("run-1", burst(5))
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
    hub.publish("run-1", burst(1), recorded_here=True)
    histories.append(event(4), event(5))
    hub.publish("run-1", burst(4))
    hub.publish("run-1", burst(5))
    for one in streams:
        await eventually(lambda one=one: one.data.endswith(b"<4><5>"))  # type: ignore[misc]
        assert one.data.count(b"event: stream:gap") == 1
        assert b'"missed":2' in one.data
        assert one.state is State.LIVE
    assert (hub.metrics.gaps, hub.metrics.queue_overruns) == (2, 0)


async def test_only_what_history_holds_moves_the_tip() -> None:
    """An id that does not continue and that history does not hold is looked up once and shown to
    nobody."""
    hub, histories = make_hub()
    histories.append(event(1))
    stream = await open_stream(hub)
    asked = len(histories.asked)
    hub.publish("run-1", burst(7))
    await eventually(lambda: len(histories.asked) == asked + 1)
    hub.publish("run-1", burst(9, epoch=EPOCH + 5))
    hub.publish("run-1", burst(2))
    await eventually(lambda: stream.data == b"<1><2>")


async def test_another_epoch_is_shown_to_those_who_are_admitted_again() -> None:
    """When history goes on in another epoch each stream is admitted again before it sees it."""
    hub, histories = make_hub()
    histories.append(event(1), event(2))
    stays = await open_stream(hub, principal("run-1", "acme"))
    goes = await open_stream(hub, principal("run-1", "other"))

    async def admit(who: object, *, again: bool) -> None:
        if getattr(who, "organization_id", "") == "other":
            raise ExecutionNotFound

    hub.admit = admit
    histories.append(event(1, epoch=EPOCH + 1))
    hub.publish("run-1", burst(1, epoch=EPOCH + 1))
    await eventually(lambda: stays.data == b"<1><2><1>")
    await eventually(lambda: goes.wire.ended)
    assert goes.data.startswith(b"<1><2>retry:")
    assert b'"reason":"revoked"' in goes.data
    hub.publish("run-1", burst(2, epoch=EPOCH + 1))
    assert stays.data == b"<1><2><1><2>"


async def after_a_flush() -> tuple[Hub, Histories, Stream]:
    """A live stream whose history was flushed, and which knows it."""
    hub, histories = make_hub()
    histories.append(event(1))
    stream = await open_stream(hub)
    histories.kept.clear()
    hub.audit("run-1", None, hub.session)
    await eventually(lambda: b"stream:reset" in stream.data)
    await eventually(lambda: stream.state is State.LIVE)
    return hub, histories, stream


async def test_a_flushed_history_resets() -> None:
    """`stream:reset` says that history is gone; what begins after it is shown."""
    hub, histories, stream = await after_a_flush()
    histories.append(event(1, epoch=EPOCH + 1))
    hub.publish("run-1", burst(1, epoch=EPOCH + 1), recorded_here=True)
    await eventually(lambda: stream.data.endswith(b"<1>"))


async def _refuse_other(who: object, *, again: bool) -> None:
    if getattr(who, "organization_id", "") == "other":
        raise ExecutionNotFound


async def test_what_begins_after_a_flush_takes_a_new_admission() -> None:
    """A stream that saw a history end by a flush is shown nothing of the next one before its
    principal was admitted again: the execution may be another organization's now."""
    hub, histories = make_hub()
    histories.append(event(1))
    stays = await open_stream(hub, principal("run-1", "acme"))
    goes = await open_stream(hub, principal("run-1", "other"))
    histories.kept.clear()
    hub.audit("run-1", None, hub.session)
    await eventually(lambda: b"stream:reset" in stays.data and b"stream:reset" in goes.data)
    await eventually(lambda: stays.state is goes.state is State.LIVE)
    before = goes.data
    hub.admit = _refuse_other
    histories.append(event(1, epoch=EPOCH + 1))
    hub.publish("run-1", burst(1, epoch=EPOCH + 1), recorded_here=True)
    await eventually(lambda: stays.data.endswith(b"<1>"))
    await eventually(lambda: goes.wire.ended)
    assert b"<1>" not in goes.data.removeprefix(before)
    assert b'"reason":"revoked"' in goes.data


async def test_a_first_event_that_was_flushed_takes_a_new_admission() -> None:
    """The same where the flush came while history was asked whether an event was the first."""
    hub, histories = make_hub()
    goes = await open_stream(hub, principal("run-1", "other"))
    hub.admit = _refuse_other
    histories.append(event(1, epoch=EPOCH + 1))
    hub.publish("run-1", burst(1))
    assert goes.data == b"<1>"
    await eventually(lambda: goes.wire.ended)
    assert goes.data.count(b"<1>") == 1
    assert b'"reason":"revoked"' in goes.data


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
    hub.publish("run-1", burst(2))
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
    hub.publish("run-1", burst(3))
    asked = len(histories.asked)
    await eventually(lambda: len(histories.asked) > asked + 2)
    assert stream.state is State.LIVE
    histories.away = False
    await eventually(lambda: stream.data == b"<1><2><3>")


async def test_too_much_while_history_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for a read is bounded; what was left out is read after it."""
    monkeypatch.setattr(log, "_WAITING_BYTES", 100)
    hub, histories = make_hub()
    histories.append(event(1))
    histories.go.clear()
    opening = asyncio.ensure_future(open_stream(hub))
    await eventually(lambda: histories.asked)
    for seq in range(2, 6):
        histories.append(event(seq, size=50))
        hub.publish("run-1", burst(seq, size=50))
    histories.go.set()
    stream = await opening
    await eventually(lambda: stream.data.split() == [b"<1><2>", b"<3>", b"<4>", b"<5>"])


# The first event of an execution.


async def test_the_first_event_needs_no_read() -> None:
    """A stream that has read an empty history takes what begins it at once; ids of our own
    recording need no question."""
    hub, histories = make_hub()
    stream = await open_stream(hub)
    asked = len(histories.asked)
    hub.publish("run-1", burst(1, 2), recorded_here=True)
    assert stream.data == b"<1><2>"
    assert len(histories.asked) == asked


async def test_a_first_event_that_history_keeps_first() -> None:
    """An id of a payload is live at once too; history is asked, and has it as its first."""
    hub, histories = make_hub()
    stream = await open_stream(hub)
    histories.append(event(1))
    hub.publish("run-1", burst(1))
    assert stream.data == b"<1>"
    await asyncio.sleep(0.05)
    hub.publish("run-1", burst(2))
    assert stream.data == b"<1><2>"


@pytest.mark.parametrize("why", ["another is first", "nothing is kept", "no answer", "session"])
async def test_a_first_event_that_is_not_first(why: str) -> None:
    """If history says no, or says nothing, or the subscription was lost before it did, the stream
    starts over: `stream:reset` and all that is kept. Events of an epoch before it count."""
    hub, histories = make_hub()
    stream = await open_stream(hub)
    histories.go.clear()
    if why == "another is first":
        histories.append(event(1, epoch=EPOCH - 1), event(1))
    histories.away = why == "no answer"
    hub.publish("run-1", burst(1))
    assert stream.data == b"<1>"
    if why == "session":
        hub.subscribed()
    histories.go.set()
    await eventually(lambda: b"stream:reset" in stream.data)
    histories.away = False
    await eventually(lambda: stream.state is State.LIVE)
    kept_ = b"<1><1>" if why == "another is first" else b""
    assert stream.data.partition(b"stream:reset")[2].partition(b"\n\n")[2] == kept_


async def test_an_empty_history_of_a_former_session_is_read_again() -> None:
    """What was read before the subscription was lost says nothing about the first event after."""
    hub, histories = make_hub()
    stream = await open_stream(hub)
    hub.subscribed()
    histories.append(event(1), event(2))
    hub.publish("run-1", burst(2), recorded_here=True)
    await eventually(lambda: stream.data == b"<1><2>")


# Events without ids.


async def test_events_without_ids() -> None:
    """They go to all at the tip, to the queues of blocked ones, and after the page to those who
    catch up."""
    hub, histories = make_hub()
    histories.append(event(1))
    quick, blocked = await open_stream(hub), await open_stream(hub)
    blocked.wire.room = 0
    hub.publish("run-1", burst(2))
    histories.append(event(2))
    hub.subscribed()
    histories.go.clear()
    opening = asyncio.ensure_future(open_stream(hub, cursor=1))
    asked = len(histories.asked)
    await eventually(lambda: len(histories.asked) >= asked)
    await asyncio.sleep(0)
    hub.publish("run-1", burst(None))
    histories.go.set()
    assert (await opening).data == b"<2>-"
    assert quick.data == b"<1><2>-"
    blocked.wire.read_on()
    assert blocked.data == b"<1><2>-"


async def test_events_without_ids_that_block_their_reader_as_it_goes_live() -> None:
    """A stream that is blocked by what it kept is at the tip all the same, and misses nothing."""
    hub, histories = make_hub()
    histories.append(event(1))
    stream = await open_stream(hub)
    histories.append(event(2))
    # What the log keeps is in doubt now, so the history is read.
    hub.subscribed()
    histories.go.clear()
    stream.subscriber.fall_behind(EventId(EPOCH, 0))
    await asyncio.sleep(0.01)
    hub.publish("run-1", burst(None))
    stream.wire.room = len(b"<1><2>")
    histories.go.set()
    await eventually(lambda: stream.state is State.LIVE)
    hub.publish("run-1", burst(3))
    stream.wire.read_on()
    assert stream.data.endswith(b"<2>-<3>")


# What is kept in memory.


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
    hub.publish("a", burst(2))
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
    hub.publish("run-1", burst(2))
    hub.publish("run-1", burst(3))
    assert new.data == old.data == b"<1><2><3>"


async def test_history_that_holds_less_than_was_written() -> None:
    """A Redis that has lost its last writes: those who have seen them are told to start over, and
    nobody waits for what will not come."""
    hub, histories = make_hub()
    histories.append(event(1))
    old = await open_stream(hub)
    hub.publish("run-1", burst(2))
    hub.subscribed()
    new = await open_stream(hub)
    assert new.data == b"<1>"
    await eventually(lambda: b"stream:reset" in old.data)
    assert CloseReason.HISTORY_LOST in old.data.decode()
    await eventually(lambda: old.state is State.LIVE)


async def test_an_invented_first_id_after_a_flush_is_looked_up_once() -> None:
    """Where a flushed history was read to its end and nothing is kept, an id that nobody has
    appended starts the streams over once, and not again with each read."""
    hub, histories, stream = await after_a_flush()
    asked = len(histories.asked)
    hub.publish("run-1", burst(1, epoch=EPOCH + 1))
    await asyncio.sleep(0.3)
    assert stream.state is State.LIVE
    assert len(histories.asked) == asked + 1


async def test_events_without_ids_that_have_no_room_are_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What comes without ids while a stream reads history waits in as many bytes as its queue has;
    what is more is in no history, so it is counted and named."""
    hub, histories = make_hub(size=100)
    histories.go.clear()
    opening = asyncio.ensure_future(open_stream(hub))
    await eventually(lambda: histories.asked)
    for size in (60, 60, 30):
        hub.publish("run-1", burst(None, size=size))
    histories.go.set()
    stream = await opening
    assert stream.data.split() == [b"-", b"-"]
    assert hub.metrics.events_dropped == {"catching_up": 1}
    assert "A stream of run-1 misses 1 events without ids" in caplog.text
