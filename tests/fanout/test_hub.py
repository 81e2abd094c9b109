"""The hub: everybody who watches an execution gets its events, and nobody else does."""

import asyncio
from contextlib import ExitStack

import pytest

from gateway.errors import LimitReached, Unavailable
from gateway.events.batch import EventBatch
from gateway.events.ids import EventId
from gateway.events.sse_encoder import RETRY_MS, CloseReason, jittered_retry_ms
from gateway.fanout.hub import Hub, QueueBounds
from gateway.fanout.subscriber import Subscriber
from gateway.metrics import Metrics
from tests.fanout.support import EPOCH, Reader, burst, subscription
from tests.principals import principal
from tests.support import eventually


def make(events: int = 10, most: int = 0) -> tuple[Hub, Metrics]:
    metrics = Metrics()
    return Hub(QueueBounds(events, 10_000), metrics, most), metrics


def live(subscriber: Subscriber) -> Subscriber:
    """As one that has caught up with an execution of which nothing has happened."""
    subscriber.position = EventId(EPOCH, 0)
    subscriber.release(0.0)
    return subscriber


async def test_keyed_by_execution() -> None:
    """An event reaches every subscriber of its execution and none of another."""
    hub, metrics = make()
    with (
        subscription(hub, principal("a")) as first,
        subscription(hub, principal("a")) as second,
        subscription(hub, principal("b")) as other,
    ):
        for subscriber in (first, second, other):
            live(subscriber)
        hub.publish("a", burst(1))
        hub.publish("nobody", burst(1))
        assert first.take() == second.take() == b"<1>"
        assert other.waiting == (0, 0)
        assert metrics.events_delivered == 2


async def test_leaving() -> None:
    """A subscriber that left gets nothing more, and leaves nothing behind, whatever the reason."""
    hub, _ = make()
    with pytest.raises(RuntimeError), subscription(hub, principal("a")) as subscriber:
        raise RuntimeError
    hub.publish("a", burst(1))
    assert subscriber.waiting == (0, 0)
    assert subscriber.left
    assert (len(hub), hub.watches("a")) == (0, False)


async def test_slow_subscriber_slows_no_other() -> None:
    """A full queue holds that subscriber alone; the others get every event."""
    hub, _ = make(events=2)
    with subscription(hub, principal("a")) as slow, subscription(hub, principal("a")) as quick:
        live(slow)
        live(quick)
        for number in range(1, 6):
            hub.publish("a", burst(number))
            assert quick.take() == f"<{number}>".encode()
        assert slow.take() == b"<1><2>"
        assert slow.held


async def test_audit() -> None:
    """An audit holds each subscriber that has missed something, and tells whether one has."""
    hub, _ = make()
    with subscription(hub, principal("a")) as behind, subscription(hub, principal("a")) as ahead:
        live(behind)
        live(ahead).position = EventId(EPOCH, 1)
        assert hub.executions == ["a"]
        assert hub.audit("a", EventId(EPOCH, 1))
        assert (behind.held, ahead.held) == (True, False)
        assert not hub.audit("a", EventId(EPOCH, 1))
        assert not hub.audit("nobody", EventId(EPOCH, 1))


async def test_broken_subscriber_is_only_its_own(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A subscriber whose offer raises is closed; the feed goes on and the others get the event."""
    hub, _ = make()
    with subscription(hub, principal("a")) as broken, subscription(hub, principal("a")) as whole:
        offer = Subscriber.offer

        def breaks(self: Subscriber, burst: EventBatch, now: float) -> int:
            if self is broken:
                raise ValueError("broken")
            return offer(self, burst, now)

        live(broken)
        live(whole)
        monkeypatch.setattr(Subscriber, "offer", breaks)
        hub.publish("a", burst(1))
        assert whole.take() == b"<1>"
        assert broken.ended == CloseReason.UNAVAILABLE
    assert "failed and is closed" in caplog.text


async def test_limit() -> None:
    """One subscriber more than allowed is refused, and a place that gets free is given again."""
    hub, _ = make(most=1)
    with subscription(hub, principal("a")):
        with pytest.raises(LimitReached), subscription(hub, principal("a")):
            pass
        assert len(hub) == 1
    with subscription(hub, principal("a")):
        assert len(hub) == 1


async def test_drain_is_spread() -> None:
    """Draining closes all streams, not all at once, and lets nobody in meanwhile."""
    hub, _ = make()
    loop = asyncio.get_running_loop()
    ends: list[float] = []

    class Watch(Reader):
        def wake(self) -> None:
            super().wake()
            if b"drain" in self.data:
                ends.append(loop.time())

    with ExitStack() as stack:
        subscribers = [stack.enter_context(subscription(hub, principal(str(n)))) for n in range(20)]
        for subscriber in subscribers:
            Watch(live(subscriber))
        await hub.drain(0.2)
        with pytest.raises(Unavailable):
            hub.add(principal("late"))
    assert {one.ended for one in subscribers} == {CloseReason.DRAIN}
    assert len(ends) == 20
    assert max(ends) - min(ends) > 0.1
    await asyncio.wait_for(hub.empty(), 1)


async def test_cut() -> None:
    """Whoever is left is ended without a word, and waited for; one that is still being opened is
    waited for only."""
    hub, _ = make()
    opened, opening = hub.add(principal("a")), hub.add(principal("a"))

    class Connection(Reader):
        def abort(self) -> None:
            asyncio.get_running_loop().call_soon(hub.remove, opened)

    connection = Connection(opened)
    cutting = asyncio.ensure_future(hub.cut())
    await eventually(lambda: opened.left)
    assert not cutting.done()
    hub.remove(opening)
    await asyncio.wait_for(cutting, 1)
    assert connection.data == b""


def test_retry_is_jittered() -> None:
    """`retry:` lies between 1 and 3 s and differs from stream to stream."""
    drawn = {jittered_retry_ms() for _ in range(200)}
    assert RETRY_MS[0] <= min(drawn) < max(drawn) <= RETRY_MS[1]
    assert len(drawn) > 100
