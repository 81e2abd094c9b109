"""Events without ids, which no history gives."""

import asyncio

import pytest

from gateway.fanout.state import State
from tests.fanout.support import (
    batch,
    event,
    make_hub,
    open_stream,
)
from tests.support import eventually


async def test_events_without_ids() -> None:
    """They go to all at the tip, to the queues of blocked ones, and after the page to those who
    catch up."""
    hub, histories = make_hub()
    histories.append(event(1))
    quick, blocked = await open_stream(hub), await open_stream(hub)
    blocked.wire.room = 0
    hub.publish("run-1", batch(2))
    histories.append(event(2))
    hub.subscribed()
    histories.go.clear()
    opening = asyncio.ensure_future(open_stream(hub, cursor=1))
    asked = len(histories.asked)
    await eventually(lambda: len(histories.asked) >= asked)
    await asyncio.sleep(0)
    hub.publish("run-1", batch(None))
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
    hub.start_over("run-1")
    await asyncio.sleep(0.01)
    hub.publish("run-1", batch(None))
    stream.wire.room = len(b"<2>")
    histories.go.set()
    await eventually(lambda: stream.state is State.LIVE)
    hub.publish("run-1", batch(3))
    stream.wire.read_on()
    assert stream.data.endswith(b"<2>-<3>")


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
        hub.publish("run-1", batch(None, size=size))
    histories.go.set()
    stream = await opening
    assert stream.data.split() == [b"-", b"-"]
    assert hub.metrics.events_dropped == {"catching_up": 1}
    assert "A stream of run-1 misses 1 events without ids" in caplog.text
