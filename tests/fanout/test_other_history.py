"""Another history than the one that streams were shown: flushed, or begun again."""

import asyncio

import pytest

from gateway.errors import ExecutionNotFound
from gateway.events.ids import EventId
from gateway.events.sse_encoder import CloseReason
from gateway.fanout.hub import Hub
from gateway.fanout.state import State
from tests.fanout.support import (
    EPOCH,
    Histories,
    Stream,
    batch,
    event,
    make_hub,
    open_stream,
)
from tests.harness.principals import principal
from tests.support import eventually


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
    hub.publish("run-1", batch(1, epoch=EPOCH + 1))
    await eventually(lambda: stays.data == b"<1><2><1>")
    await eventually(lambda: goes.wire.ended)
    assert goes.data.startswith(b"<1><2>retry:")
    assert b'"reason":"revoked"' in goes.data
    hub.publish("run-1", batch(2, epoch=EPOCH + 1))
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
    hub.publish("run-1", batch(1, epoch=EPOCH + 1), is_first_known=True)
    await eventually(lambda: stream.data.endswith(b"<1>"))


async def _refuse_other(who: object, *, again: bool) -> None:
    if getattr(who, "organization_id", "") == "other":
        raise ExecutionNotFound


@pytest.mark.parametrize("heard", [True, False])
async def test_what_begins_after_a_flush_takes_a_new_admission(heard: bool) -> None:
    """A stream that saw a history end by a flush is shown nothing of the next one before its
    principal was admitted again: the execution may be another organization's now. Whether its first
    event is heard, or found by an audit."""
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
    if heard:
        hub.publish("run-1", batch(1, epoch=EPOCH + 1), is_first_known=True)
    else:
        hub.audit("run-1", EventId(EPOCH + 1, 1), hub.session)
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
    hub.publish("run-1", batch(1))
    assert goes.data == b"<1>"
    await eventually(lambda: goes.wire.ended)
    assert goes.data.count(b"<1>") == 1
    assert b'"reason":"revoked"' in goes.data


async def test_the_first_event_needs_no_read() -> None:
    """A stream that has read an empty history takes what begins it at once; ids of our own
    recording need no question."""
    hub, histories = make_hub()
    stream = await open_stream(hub)
    asked = len(histories.asked)
    hub.publish("run-1", batch(1, 2), is_first_known=True)
    assert stream.data == b"<1><2>"
    assert len(histories.asked) == asked


async def test_a_first_event_that_history_keeps_first() -> None:
    """An id of a payload is live at once too; history is asked, and has it as its first."""
    hub, histories = make_hub()
    stream = await open_stream(hub)
    histories.append(event(1))
    hub.publish("run-1", batch(1))
    assert stream.data == b"<1>"
    await asyncio.sleep(0.05)
    hub.publish("run-1", batch(2))
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
    hub.publish("run-1", batch(1))
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
    hub.publish("run-1", batch(2), is_first_known=True)
    await eventually(lambda: stream.data == b"<1><2>")


async def test_history_that_holds_less_than_was_written() -> None:
    """A Redis that has lost its last writes: those who have seen them get a `stream:reset`, and
    nobody waits for what will not come."""
    hub, histories = make_hub()
    histories.append(event(1))
    old = await open_stream(hub)
    hub.publish("run-1", batch(2))
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
    hub.publish("run-1", batch(1, epoch=EPOCH + 1))
    await asyncio.sleep(0.3)
    assert stream.state is State.LIVE
    assert len(histories.asked) == asked + 1
