"""One stream: its one state, its bounded queue, and what others may do with it."""

import asyncio

import pytest

from gateway.events.sse_encoder import RETRY_MS, CloseReason, jittered_retry_ms
from gateway.fanout.state import COMPLETED, State
from tests.fanout.support import Stream, batch, event, make_hub, open_stream
from tests.support import eventually
from tests.wire import Wire


def publish(stream: Stream, *seqs: int, size: int = 0) -> None:
    """What is ours: recorded here, so that a first one needs no question."""
    hub = stream.subscriber.log.hub
    hub.publish("run-1", batch(*seqs, size=size), is_first_known=True)


def snapshot(stream: Stream) -> tuple[int, int]:
    now = asyncio.get_running_loop().time()
    shown = stream.subscriber.snapshot(now)
    return shown.queue_events, shown.queue_bytes


async def test_straight_to_a_reader_that_keeps_up() -> None:
    """What a reader takes at once never enters the queue, and moves the position all the same."""
    hub, _ = make_hub(events=1)
    stream = await open_stream(hub)
    for seq in range(1, 6):
        publish(stream, seq)
        assert snapshot(stream) == (0, 0)
    assert stream.data == b"<1><2><3><4><5>"
    assert str(stream.subscriber.position) == "1000-5"


async def test_behind_a_reader_the_queue_keeps_the_order() -> None:
    """What comes while the reader is blocked waits, and nothing overtakes it."""
    hub, _ = make_hub()
    stream = await open_stream(hub)
    stream.wire.room = 1
    publish(stream, 1)
    publish(stream, 2)
    stream.subscriber.notify(b"heartbeat")
    assert (stream.data, snapshot(stream)) == (b"<", (1, 12))
    stream.wire.read_on()
    publish(stream, 3)
    assert (stream.data, snapshot(stream)) == (b"<1><2>heartbeat<3>", (0, 0))


async def test_only_what_is_new_of_a_batch() -> None:
    """A batch that was seen in part is written in part, at once or through the queue; one that was
    seen whole, not at all."""
    hub, histories = make_hub()
    histories.append(*[event(seq) for seq in (1, 2, 3)])
    quick, blocked = await open_stream(hub, cursor=3), await open_stream(hub, cursor=3)
    blocked.wire.room = 0
    for seqs in ((2, 3), (2, 3, 4, 5), (5,), (4, 5, 6)):
        publish(quick, *seqs)
    assert quick.data == b"<4><5><6>"
    blocked.wire.read_on()
    assert blocked.data == b"<4><5><6>"


@pytest.mark.parametrize(
    ("first", "second"), [((1, 2, 3), (4,)), ((1,), (2,))], ids=["events", "bytes"]
)
async def test_a_full_queue_drops_nothing(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    """The queue is bounded by events and by bytes. When it is full, what waits is written, and the
    rest comes from what the log or history has; this alone counts as an overrun."""
    hub, histories = make_hub(events=3, size=100)
    stream = await open_stream(hub)
    stream.wire.room = 0
    publish(stream, 1)
    histories.append(event(1))
    size = 90 if len(first) == 1 else 0
    first, second = tuple(n + 1 for n in first), tuple(n + 1 for n in second)
    for seqs in (first, second):
        publish(stream, *seqs, size=size)
        histories.append(*batch(*seqs, size=size).events)
    assert stream.state is State.CATCHING_UP
    assert hub.metrics.queue_overruns == 1
    stream.wire.read_on()
    await eventually(lambda: stream.state is State.LIVE)
    assert [int(n) for n in stream.data.replace(b"<", b" ").replace(b">", b" ").split()] == list(
        range(1, second[-1] + 1)
    )


async def test_larger_than_the_queue() -> None:
    """One batch larger than the whole queue is still delivered when nothing else waits."""
    hub, _ = make_hub(events=3, size=100)
    stream = await open_stream(hub)
    stream.wire.room = 0
    stream.wire.protocol.pause_writing()
    publish(stream, *range(1, 51), size=100)
    assert stream.state is State.LIVE
    stream.wire.read_on()
    stream.wire.protocol.resume_writing()
    assert stream.data == batch(*range(1, 51), size=100).data


async def test_a_blocked_reader_whose_history_is_gone() -> None:
    """A reader so slow that history has no more what it needs is closed with `history_lost`."""
    hub, histories = make_hub(events=1)
    stream = await open_stream(hub)
    stream.wire.room = 0
    for seq in range(1, 5):
        publish(stream, seq)
    assert stream.state is State.CATCHING_UP
    hub.subscribed()
    histories.append(event(4))
    stream.wire.read_on()
    await eventually(lambda: stream.wire.ended)
    assert b'"reason":"history_lost"' in stream.data
    assert b"stream:gap" not in stream.data


async def test_a_returning_reader_is_told_of_a_gap_whatever_comes_while_it_is_admitted() -> None:
    """Its cursor is gone, and more than its queue holds arrives while it is opened: that is a gap,
    no overrun."""
    hub, histories = make_hub(events=1, size=100)
    histories.append(event(5))
    histories.go.clear()
    opening = asyncio.ensure_future(open_stream(hub, cursor=1))
    await eventually(lambda: histories.asked)
    for seq in (6, 7, 8):
        histories.append(event(seq, size=90))
        hub.publish("run-1", batch(seq, size=90))
    histories.go.set()
    stream = await opening
    assert stream.data.count(b"event: stream:gap") == 1
    assert stream.data.split()[-1] == b"<8>"
    assert hub.metrics.queue_overruns == 0


async def test_the_end() -> None:
    """After the terminal event nothing is written, and the first reason stays."""
    hub, _ = make_hub()
    stream = await open_stream(hub)
    hub.publish("run-1", batch(1, terminal=True), is_first_known=True)
    hub.publish("run-1", batch(2))
    stream.subscriber.close(CloseReason.DRAIN)
    stream.subscriber.notify(b"heartbeat")
    assert stream.data == b"<1>"
    assert stream.wire.ended
    assert stream.subscriber.snapshot(0).reason == COMPLETED


async def test_close() -> None:
    """A closed stream writes what waits, then its reason, then ends; the first reason stays."""
    hub, _ = make_hub()
    stream = await open_stream(hub)
    stream.wire.room = 1
    publish(stream, 1)
    publish(stream, 2)
    stream.subscriber.close(CloseReason.REVOKED)
    stream.subscriber.close(CloseReason.DRAIN)
    publish(stream, 3)
    assert not stream.wire.ended
    stream.wire.read_on()
    assert stream.data.startswith(b"<1><2>retry:")
    assert stream.data.count(b"stream:closing") == 1
    assert b"<3>" not in stream.data
    assert stream.wire.ended
    await eventually(lambda: len(hub) == 0)
    assert stream.state is State.CLOSED


async def test_closing_is_the_last_word() -> None:
    """A stream that is closed while history is read for it writes no event after its reason."""
    hub, histories = make_hub()
    histories.append(event(1))
    stream = await open_stream(hub)
    histories.append(event(2), event(9))
    histories.go.clear()
    hub.subscribed()
    hub.start_over("run-1")
    asked = len(histories.asked)
    await eventually(lambda: len(histories.asked) > asked)
    stream.subscriber.close(CloseReason.DRAIN)
    assert stream.wire.ended
    histories.go.set()
    await eventually(lambda: len(hub) == 0)
    assert stream.data.partition(b"\n\n")[2] == b""
    assert b"<2>" not in stream.data


@pytest.mark.parametrize("chunked", [False, True])
async def test_what_is_counted_is_what_was_written(chunked: bool) -> None:
    """Events and bytes of a stream are the totals of its log minus their values when it joined,
    whatever happens in between: they equal what its transport was given."""
    hub, histories = make_hub(events=2)
    early = await open_stream(hub, chunked=chunked)
    streams: list[Stream] = [early]
    for seq in range(1, 40):
        publish(early, seq)
        histories.append(event(seq))
        if seq == 5:
            streams.append(await open_stream(hub, cursor=2, chunked=chunked))
        if seq in (10, 20):
            streams[-1].wire.room = seq
        if seq in (15, 30):
            streams[-1].wire.read_on()
            await eventually(lambda: streams[-1].state is State.LIVE)
        if seq == 12:
            early.subscriber.notify(b"heartbeat")
    now = asyncio.get_running_loop().time()
    for stream, first in zip(streams, (1, 3), strict=True):
        shown = stream.subscriber.snapshot(now)
        assert shown.bytes == len(stream.data)
        assert shown.events == stream.data.count(b"<") == 40 - first
        assert 0 <= shown.silent < 1


async def test_a_write_that_raises_ends_its_stream_alone(caplog: pytest.LogCaptureFixture) -> None:
    """The loop over all streams survives that a write raises, or breaks or blocks its stream."""
    hub, _ = make_hub()
    streams = [await open_stream(hub, chunked=number % 2 == 0) for number in range(6)]
    raises, breaks, blocks, *whole = streams
    raises.wire.raises = breaks.wire.breaks = True
    blocks.wire.room = 2
    publish(whole[0], 1)
    publish(whole[0], 2)
    await eventually(lambda: len(hub) == 4)
    assert "failed and is cut off" in caplog.text
    blocks.wire.read_on()
    for stream in (blocks, *whole):
        assert stream.data.replace(b"\r\n", b"").replace(b"3<", b"<") == b"<1><2>"
    assert raises.subscriber.snapshot(0).events == 0


async def test_a_notice_that_raises_ends_its_stream_alone() -> None:
    """A heartbeat to a connection that broke a moment before raises nothing."""
    hub, _ = make_hub()
    stream = await open_stream(hub)
    stream.wire.raises = True
    stream.subscriber.notify(b"heartbeat")
    await eventually(lambda: len(hub) == 0)


async def test_closed_while_it_is_opened() -> None:
    """It shows no page, says why, and ends."""
    hub, histories = make_hub()
    histories.append(event(1))
    histories.go.clear()
    opening = asyncio.ensure_future(open_stream(hub, live=False))
    await eventually(lambda: histories.asked)
    [subscriber] = hub
    assert subscriber.state is State.OPENING
    subscriber.close(CloseReason.REVOKED)
    histories.go.set()
    stream = await opening
    assert b"revoked" in stream.data
    assert b"<1>" not in stream.data
    assert stream.wire.ended


async def test_a_history_of_many_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A history is read page by page, each after the one before it was taken."""
    hub, histories = make_hub()
    histories.page_events = 3
    histories.append(*[event(seq) for seq in range(1, 11)])
    subscriber_wire = asyncio.ensure_future(open_stream(hub, live=False))
    stream = await subscriber_wire
    await eventually(lambda: stream.state is State.LIVE)
    assert stream.data == b"".join(f"<{n}>".encode() for n in range(1, 11))
    hub.publish("run-1", batch(11))
    assert stream.data.endswith(b"<10><11>")


def test_retry_is_jittered() -> None:
    """`retry:` lies between 1 and 3 s and differs from stream to stream."""
    drawn = {jittered_retry_ms() for _ in range(200)}
    assert RETRY_MS[0] <= min(drawn) < max(drawn) <= RETRY_MS[1]
    assert len(drawn) > 100


def test_the_wire_pauses_inside_a_write() -> None:
    """The transport of these tests does what uvloop's does: else they would show nothing."""
    wire = Wire()
    calls: list[int] = []

    class Protocol:
        def pause_writing(self) -> None:
            calls.append(wire.get_write_buffer_size())

    wire.protocol = Protocol()
    wire.set_write_buffer_limits(high=0)
    wire.room = 3
    wire.write(b"12345")
    assert (calls, bytes(wire.received)) == ([2], b"123")
