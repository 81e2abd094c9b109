"""A subscriber whose transport has no socket behaves as any other one."""

from gateway.events.sse_encoder import CloseReason
from gateway.fanout.hub import Hub
from gateway.fanout.internal import InternalSubscriber, LocalTransport
from gateway.fanout.state import State
from tests.fanout.support import batch, event, make_hub
from tests.harness.principals import principal
from tests.support import eventually


class Follower:
    """What it was given, and how that ended."""

    def __init__(self, hub: Hub, *, paused: bool = False) -> None:
        self.data = b""
        self.ends: list[bool] = []
        self.transport = LocalTransport(self._take, self.ends.append)
        if paused:
            self.transport.pause()
        self.subscriber = InternalSubscriber(principal(), None, hub.log_of("run-1"))
        self.subscriber.attach(self.transport, None, b"", 0, chunked=False)

    def _take(self, data: bytes) -> None:
        self.data += data

    async def live(self) -> None:
        await eventually(lambda: self.subscriber.state is State.LIVE)


async def test_it_gets_history_then_each_event_then_the_end() -> None:
    hub, histories = make_hub()
    histories.append(event(1), event(2))
    follower = Follower(hub)
    await follower.live()
    hub.publish("run-1", batch(3))
    hub.publish("run-1", batch(4, terminal=True))
    assert (follower.data, follower.ends) == (b"<1><2><3><4>", [True])
    await eventually(lambda: follower.subscriber.state is State.CLOSED)


async def test_while_its_owner_has_paused_it_what_comes_waits_in_its_queue() -> None:
    hub, _ = make_hub()
    follower = Follower(hub, paused=True)
    follower.transport.resume()
    await follower.live()
    follower.transport.pause()
    hub.publish("run-1", batch(1), is_first_known=True)
    assert follower.data == b""
    assert not hub.stalls, "its owner watches who does not read"
    follower.transport.resume()
    assert follower.data == b"<1>"


async def test_it_is_no_stream_for_limits_and_operators() -> None:
    hub, _ = make_hub(most=1)
    follower = Follower(hub)
    await follower.live()
    assert (len(hub), list(hub)) == (0, [])
    follower.subscriber.close(CloseReason.REVOKED)
    assert b"stream:closing" in follower.data
    await eventually(lambda: follower.subscriber.state is State.CLOSED)
    metrics = hub.metrics
    assert (metrics.streams_opened, metrics.streams_closed, follower.ends) == (0, {}, [True])


async def test_cut_off_it_says_so_and_leaves() -> None:
    hub, _ = make_hub()
    follower = Follower(hub)
    follower.subscriber.abort()
    follower.transport.write(b"too late")
    assert (follower.data, follower.ends) == (b"", [False])
    await eventually(lambda: follower.subscriber.state is State.CLOSED)
