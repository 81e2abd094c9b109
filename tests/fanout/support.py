"""Events and bursts as tests of the fan-out need them."""

from collections.abc import Iterator
from contextlib import contextmanager

from gateway.events.batch import EventBatch
from gateway.events.envelope import Event
from gateway.events.ids import EventId
from gateway.fanout.hub import Hub
from gateway.fanout.subscriber import Subscriber
from gateway.principal import Principal
from tests.support import eventually

EPOCH = 1000


def event(seq: int | None, epoch: int = EPOCH, size: int = 0) -> Event:
    """An event whose frame is its number; None for one without id."""
    text = "-" if seq is None else f"<{seq}>"
    return Event("step:started", EventId(epoch, seq) if seq else None, text.encode().ljust(size))


def burst(
    *seqs: int | None, epoch: int = EPOCH, terminal: bool = False, size: int = 0
) -> EventBatch:
    return EventBatch([event(seq, epoch, size) for seq in seqs], terminal)


class Reader:
    """A sink that keeps what it is given: at once while it keeps up, from the queue after that."""

    def __init__(self, subscriber: Subscriber) -> None:
        self.data = b""
        self.behind = False
        self._subscriber = subscriber
        subscriber.attach(self)

    def offer(self, burst: EventBatch) -> bool:
        if self.behind:
            return False
        self.data += burst.data
        return True

    def wake(self) -> None:
        if not self.behind:
            self.data += self._subscriber.take()

    def catch_up(self) -> None:
        self.behind = False
        self.wake()

    def abort(self) -> None:
        raise AssertionError("nobody asked for that")

    @property
    def behind_since(self) -> float | None:
        return 0.0 if self.behind else None

    @property
    def written(self) -> int:
        return len(self.data)


@contextmanager
def subscription(hub: Hub, principal: Principal) -> Iterator[Subscriber]:
    """A subscriber of *viewer*'s execution for as long as the block runs."""
    subscriber = hub.add(principal)
    try:
        yield subscriber
    finally:
        hub.remove(subscriber)


async def taken(subscriber: Subscriber) -> bytes:
    """The next that waits in its queue."""
    await eventually(lambda: any(subscriber.waiting))
    return subscriber.take()
