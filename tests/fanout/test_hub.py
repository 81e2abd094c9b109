"""The hub: everybody who watches an execution gets its events, and nobody else does."""

import asyncio

import pytest

from gateway.errors import LimitReached, Unavailable
from gateway.fanout.state import State
from tests.fanout.support import NoPermit, batch, event, make_hub, open_stream
from tests.harness.principals import principal
from tests.support import DEADLINE, eventually


async def test_keyed_by_execution() -> None:
    """An event reaches every subscriber of its execution and none of another."""
    hub, _ = make_hub()
    first, second, other = [await open_stream(hub, principal(name)) for name in ("a", "a", "b")]
    hub.publish("a", batch(1), is_first_known=True)
    hub.publish("nobody", batch(1), is_first_known=True)
    assert first.data == second.data == b"<1>"
    assert other.data == b""
    assert hub.metrics.events_delivered == 2


async def test_leaving() -> None:
    """A stream that left gets nothing more, and leaves only what is kept for a while."""
    hub, _ = make_hub()
    stream = await open_stream(hub, principal("a"))
    stream.leave()
    await asyncio.sleep(0)
    hub.publish("a", batch(1), is_first_known=True)
    assert stream.data == b""
    assert stream.state is State.CLOSED
    assert (len(hub), list(hub)) == (0, [])
    hub.subscribed()
    assert not hub.watches("a")


async def test_slow_subscriber_slows_no_other() -> None:
    """A full queue sends that subscriber back to history alone; the others get every event."""
    hub, _ = make_hub(events=2)
    slow, quick = [await open_stream(hub, principal("a")) for _ in range(2)]
    slow.wire.room = 0
    for number in range(1, 6):
        hub.publish("a", batch(number), is_first_known=True)
        assert quick.data.endswith(f"<{number}>".encode())
    assert (slow.state, quick.state) == (State.CATCHING_UP, State.LIVE)


async def test_limit() -> None:
    """One subscriber more than allowed is refused, and a place that gets free is given again."""
    hub, _ = make_hub(most=1)
    for _ in range(2):
        subscriber = hub.add(principal("a"), None, NoPermit())
        with pytest.raises(LimitReached):
            hub.add(principal("a"), None, NoPermit())
        assert len(hub) == 1
        subscriber.leave()


async def test_drain_is_spread() -> None:
    """Draining closes all streams, not all at once, and lets nobody in meanwhile."""
    hub, _ = make_hub()
    loop = asyncio.get_running_loop()
    streams = [await open_stream(hub, principal(str(n))) for n in range(20)]
    ends: list[float] = []
    hub.on_left = lambda _: ends.append(loop.time())
    await hub.drain(0.2)
    with pytest.raises(Unavailable):
        hub.add(principal("late"), None, NoPermit())
    await asyncio.wait_for(hub.empty(), DEADLINE)
    assert all(b'"reason":"drain"' in one.data for one in streams)
    assert len(ends) == 20
    assert max(ends) - min(ends) > 0.1


async def test_cut() -> None:
    """Those who are left are cut off, and waited for; one that is still being opened is waited for
    only."""
    hub, _ = make_hub()
    opened, opening = await open_stream(hub), hub.add(principal("a"), None, NoPermit())
    cutting = asyncio.ensure_future(hub.cut())
    await eventually(lambda: opened.state is State.CLOSED)
    assert opened.data == b""
    assert not cutting.done()
    opening.leave()
    await asyncio.wait_for(cutting, DEADLINE)


async def test_stop_gives_up_reads() -> None:
    """Nothing is under way any more once the hub has stopped."""
    hub, histories = make_hub()
    histories.append(event(1))
    histories.go.clear()
    opening = asyncio.ensure_future(open_stream(hub))
    await eventually(lambda: histories.asked)
    await hub.stop()
    with pytest.raises(asyncio.CancelledError):
        await opening
