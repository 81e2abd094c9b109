"""A subscriber is one open stream, with its one state.

    opening ──► catching up ◄──► live        any of them ──► closing ──► closed

Live, it stands at the tip of its execution's log, which writes every event straight to its
transport. Behind the tip a `CatchUp` reads page after page until it stands there. Whether its
reader is blocked is beside the state: what comes then waits in the bounded queue of its
`Connection`, and a live one whose queue is full catches up later instead.

Others call `notify`, `close` and `abort` and read `snapshot`; the rest is for its handler, its log
and its parts. Nothing waits for a reader: a stream has a task only while it reads a page.
"""

import asyncio
import logging

from gateway.events.batch import EventBatch
from gateway.events.history_page import HistoryPage
from gateway.events.ids import EventId
from gateway.events.sse_encoder import CloseReason, closing, jittered_retry_ms, reset
from gateway.fanout.catch_up import CatchUp
from gateway.fanout.connection import Connection, Queue
from gateway.fanout.log import Log
from gateway.fanout.state import COMPLETED, GONE, Permit, Snapshot, State
from gateway.log import event
from gateway.principal import Principal

logger = logging.getLogger("gateway.streams")


class Subscriber:
    """One open stream of one execution."""

    __slots__ = (
        "_catch_up", "_connection", "_former", "_permit", "_position", "_reason", "_request_id",
        "log", "opened_at", "principal", "state",
    )  # fmt: skip

    def __init__(
        self, principal: Principal, cursor: EventId | None, log: Log, permit: Permit
    ) -> None:
        """For `Hub.add`, which is how to get one."""
        self.principal = principal
        self.log = log
        self.state = State.OPENING
        self.opened_at = asyncio.get_running_loop().time()
        self._catch_up: CatchUp | None = CatchUp(self)
        self._connection = Connection(self)
        self._permit = permit
        self._position = cursor
        """The last event that was written or queued; while it is live, the log knows better."""
        self._former: EventId | None = None
        """Where it was in a history that is gone: its principal was admitted to that one."""
        self._reason: str | None = None
        self._request_id: str | None = None
        log.streams.leave(self)

    # For everybody.

    def notify(self, frame: bytes) -> None:
        """Write a whole *frame* that moves no position, after what waits."""
        if not self.is_ending:
            self._connection.put(frame)

    def close(self, reason: CloseReason) -> None:
        """End the stream after what waits, telling the reader why; later calls change nothing."""
        self._close(reason, closing(reason, jittered_retry_ms()))

    def abort(self) -> None:
        """Cut the connection; one that is still being opened is its handler's to end."""
        if (transport := self._connection.transport) is not None:
            self._leave_tip()
            transport.abort()

    def snapshot(self, now: float) -> Snapshot:
        """The stream at *now* (loop time)."""
        connection, since = self._connection, self._connection.blocked_since
        queue = connection.queue or Queue()
        return Snapshot(
            self.state,
            self._reason,
            self.position,
            *connection.written,
            queue.events,
            queue.bytes,
            0.0 if since is None else now - since,
            now - connection.written_at,
        )

    @property
    def execution_id(self) -> str:
        """Of the execution that it watches."""
        return self.principal.execution_id

    @property
    def position(self) -> EventId | None:
        """The last event that was written or queued for its reader."""
        return self.log.tip if self.state is State.LIVE else self._position

    @property
    def is_ending(self) -> bool:
        """Nothing is written to it any more but what waits."""
        return self.state in (State.CLOSING, State.CLOSED)

    def silent_since(self) -> float:
        """Loop time in seconds of the last frame that was written or queued."""
        return self._connection.written_at

    # For the handler of its request.

    @property
    def opening(self) -> CatchUp:
        """Of whom its handler asks the first page."""
        return self._catch_up or CatchUp(self)

    def opened(self, request_id: str) -> None:
        """Its response has begun: its end is counted and logged."""
        self.log.hub.metrics.streams_opened += 1
        self._request_id = request_id

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
        self._connection.attach(transport, written, chunked=chunked)
        if page is not None:
            self.show(page, rest)
        elif rest:
            self._connection.write(rest)
        self.pump()

    def leave(self, written: int = 0) -> None:
        """Its stream is over: give everything back. *written*: bytes, where it had no connection
        of its own. Calling it again changes nothing."""
        if self.state is State.CLOSED:
            return
        self._leave_tip()
        self.state = State.CLOSED
        if self._catch_up is not None:
            self._catch_up.stop()
            self._catch_up = None
        self._connection.over(written)
        self.log.hub.remove(self)
        self._permit.leave()
        if self._request_id is not None:
            self._count_end(self._reason or GONE, self._request_id)

    # For the log of its execution.

    def keep(self, batch: EventBatch) -> None:
        """A *batch* without ids, which no history gives, has come while it is not live."""
        if self._catch_up is not None:
            self._catch_up.keep(batch)

    def queue(self, data: bytes, events: int, before: EventId | None) -> bool:
        """Queue what follows *before*, since its reader is blocked; if the queue is full it is
        caught up with later."""
        hub, queue = self.log.hub, self._connection.queue
        if queue is not None and (
            queue.events + events > hub.bounds.events or queue.bytes + len(data) > hub.bounds.bytes
        ):
            hub.metrics.queue_overruns += 1
            self.fall_behind(before, overran=True)
            return False
        self._connection.put(data, events)
        return True

    def fall_behind(
        self, position: EventId | None, *, overran: bool = False, start_over: bool = False
    ) -> None:
        """Be behind the tip, at *position*; it catches up once its reader has taken what waits.
        *overran*: its queue is full. *start_over*: what it was shown does not count."""
        self._leave_tip()
        self.state = State.CATCHING_UP
        self._catch_up = CatchUp(self, overran=overran)
        self._move_to(position)
        if start_over:
            self._move_to(None)
            self.log.hub.metrics.resets += 1
            self.notify(reset())
        self.pump()

    def complete(self) -> None:
        """The execution has ended, and all of it was written or queued."""
        self._close(COMPLETED)

    # For its catching up.

    @property
    def admitted_at(self) -> EventId | None:
        """An event of the history that its principal was admitted to."""
        return self._position or self._former

    def show(self, page: HistoryPage, frames: bytes) -> None:
        """Write *frames*, all of *page* that was not written yet; only then the position moves."""
        if frames:
            self._connection.write(frames)
        self._move_to(page.end)
        self._connection.events += len(page.events)
        self.log.hub.metrics.events_delivered += len(page.events)
        if page.is_last:
            self.complete()

    def go_live(self) -> None:
        """It stands at the tip."""
        missed = self._catch_up.without_ids if self._catch_up is not None else []
        self.state, self._catch_up = State.LIVE, None
        for batch in missed:
            self.log.hub.metrics.events_delivered += len(batch)
            self._connection.put(batch.data, len(batch))
            if batch.terminal:
                self.complete()
                return

    def pump(self) -> None:
        """Do what is due until nothing is, or the reader is blocked."""
        connection = self._connection
        while connection.is_writable:
            if connection.write_queue():
                continue
            if self.state is State.CLOSING:
                connection.finish()
            elif self._catch_up is not None:
                if not self._catch_up.step():
                    return
            elif self.state is State.LIVE and not connection.keeps_up:
                connection.keep_up(self.log.streams)
                self.log.streams.enter(self, connection)
            else:
                return

    # For its connection, and the watch over readers that take nothing.

    def blocked(self) -> None:
        """Its reader takes nothing at the moment; this may be called inside a write."""
        self.log.hub.stalls.behind(self._connection)
        if self.state is State.LIVE:
            self._connection.settle()
            self.log.streams.block(self)

    def unblocked(self) -> None:
        """Its reader has taken everything."""
        self.log.hub.stalls.even(self._connection)
        self.pump()

    def lost(self) -> None:
        """Its connection has ended."""
        self.log.hub.stalls.even(self._connection)
        self.leave()

    def stalled(self) -> None:
        """A reader that does not read gets no last words."""
        self._reason = CloseReason.SLOW_READER
        self.abort()

    def _move_to(self, position: EventId | None) -> None:
        if position is None:
            # Else what comes next would look like a first history, to which it was admitted.
            self._former = self._position or self._former
        self._position = position

    def _leave_tip(self) -> None:
        self._move_to(self.position)
        self._connection.settle()
        self.log.streams.leave(self)

    def _close(self, reason: str, last: bytes = b"") -> None:
        if self.is_ending:
            return
        self._leave_tip()
        self.state, self._reason = State.CLOSING, reason
        if last:
            self._connection.put(last)
        self.pump()

    def _count_end(self, reason: str, request_id: str) -> None:
        metrics, written = self.log.hub.metrics, self._connection.written
        metrics.streams_closed[reason] += 1
        metrics.bytes_delivered += written.bytes
        event(
            logger,
            "stream ended",
            execution_id=self.execution_id,
            organization_id=self.principal.organization_id,
            reason=reason,
            events=written.events,
            bytes=written.bytes,
            seconds=round(asyncio.get_running_loop().time() - self.opened_at, 3),
            request_id=request_id,
        )
