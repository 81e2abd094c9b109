"""A subscriber is one open stream, with its state.

    opening ──► catching up ◄──► live        any of them ──► closing ──► closed

Live, it stands at the tip of its execution's log, which writes every event straight to its
transport. Behind the tip a `CatchUp` reads page after page until it stands there. Whether the
reader is blocked is not part of the state: new events then wait in a bounded queue, and a live
subscriber whose queue is full catches up later.

Others call `notify`, `close` and `abort` and read `snapshot`; the rest is for its handler, its log
and its parts. Nothing waits for a reader: a stream has a task only while it reads a page.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext

from gateway.events.batch import EventBatch
from gateway.events.ending import EndingStatus
from gateway.events.history_page import HistoryPage
from gateway.events.ids import EventId
from gateway.events.sse_encoder import reset
from gateway.fanout.catch_up import CatchUp
from gateway.fanout.log import Log
from gateway.fanout.state import COMPLETED, Permit, State
from gateway.fanout.stream import Stream
from gateway.principal import Principal


class Subscriber(Stream):
    """One open stream of one execution."""

    turn_seconds: float | None = None
    """After so long without an answer of Redis it gives up its `turn`."""

    __slots__ = ("_catch_up", "_position", "admitted_at", "log")

    def __init__(
        self, principal: Principal, cursor: EventId | None, log: Log, permit: Permit | None
    ) -> None:
        """For `Hub.add`, which is how to get one."""
        super().__init__(principal, log.hub, permit)
        self.log = log
        self._catch_up: CatchUp | None = CatchUp(self)
        self._position = cursor
        """The last event that was written or queued; while it is live, the log knows better."""
        self.admitted_at = cursor
        """An event of the history that its principal was admitted to; it may be gone by now."""
        log.streams.move(self, log.streams.behind)

    # For everybody.

    def abort(self) -> None:
        """Cut the connection; one that is still being opened is its handler's to end."""
        if self.transport is not None:
            self.release()
            super().abort()

    @property
    def execution_id(self) -> str:
        """Of the execution that it watches."""
        return self.principal.execution_id

    @property
    def execution_ids(self) -> Sequence[str]:
        """The same."""
        return (self.execution_id,)

    @property
    def position(self) -> EventId | None:
        """The last event that was written or queued for its reader."""
        return self.log.tip if self.state is State.LIVE else self._position

    @property
    def admitted_again(self) -> bool:
        """Whether another epoch takes an admission that no former answer counts for; see
        `Ownership.admit`."""
        return True

    @property
    def most_kept(self) -> int:
        """Bytes of events without ids that may wait while it catches up."""
        return self.hub.bounds.bytes

    def has_room(self, events: int, size: int) -> bool:
        """Whether so many events and bytes more may wait for its reader."""
        bounds, queue = self.hub.bounds, self.queue
        return queue is None or (
            queue.events + events <= bounds.events and queue.bytes + size <= bounds.bytes
        )

    # For the handler of its request.

    @property
    def opening(self) -> CatchUp:
        """Of whom its handler asks the first page."""
        return self._catch_up or CatchUp(self)

    def attach(
        self,
        transport: asyncio.Transport,
        page: HistoryPage | None,
        rest: bytes,
        written: int,
        *,
        chunked: bool,
    ) -> None:
        """Take over *transport*. Of *page* all but *rest* is written; *written* bytes in all."""
        if self.state is State.OPENING:
            self.state = State.CATCHING_UP
        self.connect(transport, written, chunked=chunked)
        if page is not None:
            self.show(page, rest)
        elif rest:
            self.write(rest)
        self.pump()

    def release(self) -> None:
        """It does not stand at the tip any more; where it is over, see `leave`."""
        self._move_to(self.position)
        self.leave_group()
        self.log.streams.move(self, self.log.streams.behind)

    def leave(self, written: int = 0) -> None:
        """See `Stream.leave`."""
        if self._catch_up is not None:
            self._catch_up.stop()
        super().leave(written)
        self._catch_up = None

    # For the log of its execution.

    def keep(self, batch: EventBatch) -> None:
        """A *batch* without ids, which no history gives, has come while it is not live."""
        if self._catch_up is not None:
            self._catch_up.keep(batch)

    def queue_up(self, data: bytes, events: int) -> bool:
        """Queue what comes, since its reader is blocked; if the queue is full it is caught up with
        later."""
        if not self.has_room(events, len(data)):
            self.metrics.queue_overruns += 1
            self.fall_behind(overran=True)
            return False
        self.put(data, events)
        return True

    def fall_behind(self, *, overran: bool = False, start_over: bool = False) -> None:
        """Be behind the tip, where that is now; it catches up once its reader has taken what waits.
        *overran*: its queue is full. *start_over*: what it was shown does not count."""
        self.release()
        self.state = State.CATCHING_UP
        self._catch_up = CatchUp(self, overran=overran)
        if start_over:
            self._move_to(None)
            self.metrics.resets += 1
            self.notify(reset())
        self.pump()

    def complete(self, status: EndingStatus | None) -> None:
        """The execution has ended with *status*, and all of it was written or queued."""
        self._close(COMPLETED)

    # For its catching up.

    def show(self, page: HistoryPage, frames: bytes) -> None:
        """Write *frames*, all of *page* that was not written yet; only then the position moves."""
        if frames:
            self.write(frames)
        self._events += len(page.events)
        self._move_to(page.end)
        self.metrics.events_delivered += len(page.events)
        if page.is_last and page.ending is not None:
            self.complete(page.ending.status)

    def go_live(self, missed: list[EventBatch]) -> None:
        """It stands at the tip, and has *missed* these, which are in no history."""
        self.state, self._catch_up = State.LIVE, None
        for batch in missed:
            self.metrics.events_delivered += len(batch)
            self.put(batch.data, len(batch))
            if batch.terminal:
                self.complete(batch.terminal)
                return

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Held while a page is read and shown."""
        return nullcontext()

    def step(self) -> bool:
        """See `Stream.step`: come nearer to the tip, and then let the log write."""
        if self._catch_up is not None:
            return self._catch_up.step()
        if self.state is State.LIVE and self.group is None:
            streams = self.log.streams
            group = streams.group_of(self)
            self.join_group(group)
            streams.move(self, group.streams)
        return False

    # For the event loop.

    def pause_writing(self) -> None:
        """Its reader takes nothing at the moment; this may be called inside a write."""
        super().pause_writing()
        if self.state is State.LIVE:
            self.leave_group()
            self.log.streams.move(self, self.log.streams.blocked)

    def _move_to(self, position: EventId | None) -> None:
        self._position = position
        # After a flush it is nowhere, and yet what comes next is no first history.
        self.admitted_at = position or self.admitted_at
