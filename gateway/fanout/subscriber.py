"""A subscriber is one open stream, with its one state.

    opening ──► catching up ◄──► live        any of them ──► closing ──► closed

Live, it stands at the tip of its execution's log, which writes every event straight to its
transport. Behind the tip it catches up: page after page is read from the log and written until it
stands at the tip. Whether its reader has taken everything is beside the state: while it has not,
what comes waits in a bounded queue, and a live one whose queue is full catches up later instead.

Others call `notify`, `close` and `abort` and read `snapshot`; what is below is the log's and the
hub's. Nothing waits for a reader: a stream has a task only while it reads a page.
"""

import asyncio
import logging
from typing import TYPE_CHECKING

from gateway.events.history_page import HistoryPage
from gateway.events.ids import EventId
from gateway.events.sse_encoder import CloseReason, closing, jittered_retry_ms, reset
from gateway.fanout.catch_up import CatchUp
from gateway.fanout.log import Log
from gateway.fanout.state import COMPLETED, GONE, Permit, Snapshot, State
from gateway.log import event
from gateway.principal import Principal

if TYPE_CHECKING:
    from gateway.fanout.hub import Hub

log = logging.getLogger("gateway.streams")


class Subscriber(CatchUp):
    """One open stream of one execution."""

    __slots__ = ("_permit", "_reason", "_request_id", "opened_at")

    def __init__(
        self, principal: Principal, cursor: EventId | None, log: Log, hub: "Hub", permit: Permit
    ) -> None:
        """For `Hub.add`, which is how to get one."""
        super().__init__(principal, cursor, log, hub)
        self.opened_at = asyncio.get_running_loop().time()
        self._permit = permit
        self._reason: str | None = None
        self._request_id: str | None = None

    # For everybody.

    def notify(self, frame: bytes) -> None:
        """Write a whole *frame* that moves no position, after what waits."""
        if self.state not in (State.CLOSING, State.CLOSED):
            self._put(frame, asyncio.get_running_loop().time())

    def close(self, reason: CloseReason) -> None:
        """End the stream after what waits, telling the reader why; later calls change nothing."""
        self._close(reason, closing(reason, jittered_retry_ms()))

    def abort(self) -> None:
        """Cut the connection; one that is still being opened is its handler's to end."""
        if self._transport is not None:
            self._leave_tip()
            self._transport.abort()

    def snapshot(self, now: float) -> Snapshot:
        """The stream at *now* (loop time)."""
        events, size, written_at = self._totals()
        since = self._blocked_since
        return Snapshot(
            self.state,
            self._reason,
            self.position,
            events,
            size,
            self._queue_events,
            self._queue_bytes,
            0.0 if since is None else now - since,
            now - written_at,
        )

    @property
    def position(self) -> EventId | None:
        """The last event that was written or queued for its reader."""
        return self._log.tip if self.state is State.LIVE else self._position

    def silent_since(self) -> float:
        """Loop time in seconds of the last frame that was written or queued."""
        return self._totals()[2]

    # For the handler of its request.

    def opened(self, request_id: str) -> None:
        """Its response has begun: its end is counted and logged."""
        self._hub.metrics.streams_opened += 1
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
        """Be the protocol of *transport*. Of *page* all is written but *rest*; *written* bytes of
        the body in all."""
        self.chunked = chunked
        self._bytes = written
        if self.state is State.OPENING:
            self.state = State.CATCHING_UP
        self._attach(transport)
        if rest:
            self._write(rest)
        if page is not None:
            self._got(page)
        self._pump()

    def leave(self, written: int = 0) -> None:
        """Its stream is over: give everything back. *written*: bytes, where it had no connection
        of its own. Calling it again changes nothing."""
        if self.state is State.CLOSED:
            return
        self._leave_tip()
        self.state = State.CLOSED
        self._bytes += written
        self._queue = self._without_ids = None
        self._hub.remove(self)
        self._permit.leave()
        if self._request_id is not None:
            reason = self._reason or GONE
            self._hub.metrics.streams_closed[reason] += 1
            self._hub.metrics.bytes_delivered += self._bytes
            self._log_end(reason, self._request_id)

    # For the log of its execution.

    def queue(self, data: bytes, events: int, before: EventId | None, now: float) -> bool:
        """Queue what follows *before*, since its reader is blocked; if the queue is full it is
        caught up with later."""
        bounds = self._hub.bounds
        if self._queue is not None and (
            self._queue_events + events > bounds.events
            or self._queue_bytes + len(data) > bounds.bytes
        ):
            self._hub.metrics.queue_overruns += 1
            self.fall_behind(before)
            self._overran = True
            return False
        self._queue_events += events
        self._events += events
        self._put(data, now)
        return True

    def fall_behind(self, position: EventId | None, *, told_to_start_over: bool = False) -> None:
        """Be behind the tip, at *position*; it catches up once its reader has taken what waits."""
        self._leave_tip()
        self.state = State.CATCHING_UP
        self._move_to(position)
        self._collect()
        if told_to_start_over:
            self._move_to(None)
            self._hub.metrics.resets += 1
            self.notify(reset())
        self._pump()

    def complete(self) -> None:
        """The execution has ended, and all of it was written or queued."""
        self._close(COMPLETED)

    def fail(self, events: int, size: int) -> None:
        """The log's last write, of so many *events* and bytes, went wrong."""
        self.abort()
        self._events -= events
        self._bytes -= size

    # For the event loop and the watch over readers that take nothing.

    def connection_lost(self, exc: Exception | None) -> None:
        """However the connection has ended."""
        self._transport = None
        self._stalls.even(self)
        if self._reading is not None:
            self._reading.cancel()
        self.leave()

    def stalled(self) -> None:
        """A reader that does not read gets no last words."""
        self._reason = CloseReason.SLOW_READER
        self.abort()

    # Its own.

    def _pump(self) -> None:
        """Do what is due until nothing is, or the reader is blocked."""
        while self._blocked_since is None and not self._is_gone():
            if self._write_queue():
                continue
            if self.state is State.CLOSING:
                self._finish()
            elif self.state is State.CATCHING_UP and self._reading is None:
                if not self._catch_up():
                    return
            elif self.state is State.LIVE and not self._keeps_up:
                self._enter_tip()
            else:
                return

    def _go_live(self) -> None:
        self.state, self._overran = State.LIVE, False
        kept, self._without_ids = self._without_ids or (), None
        if self._blocked_since is not None:
            self._log.live.block(self)
        for batch in kept:
            self._events += len(batch)
            self._hub.metrics.events_delivered += len(batch)
            self._put(batch.data, asyncio.get_running_loop().time())
            if batch.terminal:
                self.complete()
                return

    def _enter_tip(self) -> None:
        """The log writes to it from now on, and counts."""
        if self._transport is not None:
            live = self._log.live
            self._keeps_up = True
            self._events -= live.events
            self._bytes -= live.chunked_bytes if self.chunked else live.plain_bytes
            live.enter(self, self._transport)

    def _step_aside(self) -> None:
        if self.state is State.LIVE:
            self._settle()
            self._log.live.block(self)

    def _leave_tip(self) -> None:
        self._move_to(self.position)
        self._settle()
        self._log.live.leave(self)

    def _close(self, reason: str, last: bytes = b"") -> None:
        if self.state in (State.CLOSING, State.CLOSED):
            return
        self._leave_tip()
        self.state, self._reason = State.CLOSING, reason
        if last:
            self._put(last, asyncio.get_running_loop().time())
        self._pump()

    def _log_end(self, reason: str, request_id: str) -> None:
        event(
            log,
            "stream ended",
            execution_id=self.execution_id,
            organization_id=self.principal.organization_id,
            reason=reason,
            events=self._events,
            bytes=self._bytes,
            seconds=round(asyncio.get_running_loop().time() - self.opened_at, 3),
            request_id=request_id,
        )
