"""Histories in memory, streams on transports of the test's own, and batches for them."""

import asyncio
from dataclasses import dataclass, field

from gateway.errors import RedisUnavailable
from gateway.events.batch import EventBatch
from gateway.events.envelope import Event
from gateway.events.history_page import CursorStatus, Ending, HistoryPage
from gateway.events.ids import EventId
from gateway.fanout.hub import Hub, QueueBounds
from gateway.fanout.stalls import StallWatch
from gateway.fanout.state import State
from gateway.fanout.subscriber import Subscriber
from gateway.metrics import Metrics
from gateway.principal import Principal
from tests.harness.principals import principal
from tests.support import eventually
from tests.wire import Wire

EPOCH = 1000
END = "execution:completed"


def event(seq: int | None, epoch: int = EPOCH, size: int = 0, end: bool = False) -> Event:
    """An event whose frame is its number; None for one without id."""
    text = "-" if seq is None else f"<{seq}>"
    name = END if end else "step:started"
    return Event(name, EventId(epoch, seq) if seq else None, text.encode().ljust(size))


def batch(
    *seqs: int | None, epoch: int = EPOCH, terminal: bool = False, size: int = 0
) -> EventBatch:
    events = [event(seq, epoch, size) for seq in seqs]
    if terminal:
        events[-1] = event(seqs[-1], epoch, size, end=True)
    return EventBatch(events, "completed" if terminal else None)


@dataclass
class Histories:
    """Histories as Redis keeps them; a read waits until `go` is set, after it was answered."""

    kept: dict[str, list[Event]] = field(default_factory=dict)
    page_events: int = 1000
    asked: list[str] = field(default_factory=list)
    away: bool = False
    fault: Exception | None = None
    """What a read raises."""
    go: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.go.set()

    def append(self, *events: Event, execution_id: str = "run-1") -> None:
        self.kept.setdefault(execution_id, []).extend(events)

    async def page(
        self,
        execution_id: str,
        cursor: EventId | None,
        *,
        only_valid: bool = False,
        organization_id: str = "",
    ) -> HistoryPage:
        self.asked.append(execution_id)
        page = self._page(self.kept.get(execution_id, []), cursor)
        if only_valid and page.cursor_status in ("gap", "reset"):
            page = HistoryPage("reset", [], page.first_kept, None, more=False, last=None)
        await self.go.wait()
        if self.fault is not None:
            raise self.fault
        if self.away:
            raise RedisUnavailable("Redis is away.")
        return page

    def _page(self, kept: list[Event], cursor: EventId | None) -> HistoryPage:
        ids = [one.id for one in kept]
        first = ids[0] if ids else None
        rest = kept
        status: CursorStatus
        if cursor is None:
            status = "start"
        elif cursor in ids:
            status, rest = "valid", kept[ids.index(cursor) + 1 :]
        elif first is not None and first.epoch == cursor.epoch and first.seq > cursor.seq:
            status = "gap"
        else:
            status = "reset"
        shown, more = rest[: self.page_events], len(rest) > self.page_events
        ends = [one for one in kept if one.type == END and one.id is not None]
        ending = Ending(ends[0].id, END, True, "completed") if ends and ends[0].id else None
        end = shown[-1].id if shown else cursor if status == "valid" else None
        last = ids[-1] if ids else None
        return HistoryPage(status, shown, first, ending, more, last, end)


class NoPermit:
    """A stream that nobody counts."""

    def leave(self) -> None:
        """Nothing to give back."""


def make_hub(
    events: int = 10, size: int = 10_000, most: int = 0, kept_bytes: int = 1_000_000
) -> tuple[Hub, Histories]:
    """A hub, and the histories that it reads, in the first session of a subscription."""
    histories = Histories()
    hub = Hub(
        histories,
        QueueBounds(events, size),
        Metrics(),
        stalls=StallWatch(60),
        kept_bytes=kept_bytes,
        max_subscribers=most,
    )
    hub.subscribed()
    return hub, histories


class Stream:
    """An open stream and what its reader has got, without framing."""

    def __init__(self, subscriber: Subscriber, wire: Wire) -> None:
        self.subscriber = subscriber
        self.wire = wire

    @property
    def state(self) -> State:
        return self.subscriber.state

    @property
    def reason(self) -> str | None:
        """Why it is closing, or was closed."""
        return self.subscriber.snapshot(0).reason

    @property
    def data(self) -> bytes:
        """All that was written."""
        return bytes(self.wire.received)

    def leave(self) -> None:
        self.wire.leave()


async def open_stream(
    hub: Hub,
    who: Principal | None = None,
    cursor: int | None = None,
    *,
    chunked: bool = False,
    live: bool = True,
) -> Stream:
    """A stream as its handler opens one; waits until it is *live*."""
    position = None if cursor is None else EventId(EPOCH, cursor)
    subscriber = hub.add(who or principal(), position, NoPermit())
    page = await subscriber.opening.page()
    frames = await subscriber.opening.render(page)
    wire = Wire()
    wire.protocol = subscriber
    subscriber.attach(wire, page, frames or b"", 0, chunked=chunked)
    if live:
        await eventually(lambda: subscriber.state is State.LIVE)
    return Stream(subscriber, wire)


def attached(hub: Hub, who: Principal) -> Stream:
    """A stream of an execution of which nothing is known."""
    subscriber = hub.add(who, None, NoPermit())
    wire = Wire()
    wire.protocol = subscriber
    subscriber.attach(wire, None, b"", 0, chunked=False)
    return Stream(subscriber, wire)
