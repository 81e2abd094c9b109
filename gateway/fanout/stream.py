"""One open stream, whatever it shows: who reads it, its state, and what is counted at its end.

`gateway.fanout.subscriber` is a stream of one execution, `gateway.fanout.set_stream` of several.
Heartbeats, expiry, stalls, revocations, draining and operators use only what is defined here.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

from gateway.events.ids import EventId
from gateway.events.sse_encoder import CloseReason, closing, jittered_retry_ms
from gateway.fanout.connection import Connection, Queue
from gateway.fanout.state import GONE, Permit, Snapshot, State
from gateway.log import event
from gateway.metrics import Metrics
from gateway.principal import Principal

if TYPE_CHECKING:
    from gateway.fanout.hub import Hub

logger = logging.getLogger("gateway.streams")


class Stream(Connection):
    """What all streams have in common."""

    is_internal: ClassVar[bool] = False
    """It has no reader of its own, and is no stream for limits, metrics and operators."""
    is_counted: ClassVar[bool] = True
    """What it is given counts as delivered."""

    weight: int = 1
    """As how many streams it counts."""

    __slots__ = ("_permit", "_request_id", "hub", "opened_at", "principal", "reason", "state")

    def __init__(self, principal: Principal, hub: "Hub", permit: Permit | None) -> None:
        """*permit* is given back at its end."""
        super().__init__()
        self.principal = principal
        self.hub = hub
        self.state = State.OPENING
        self.reason: str | None = None
        """Why it has ended, or is about to."""
        self.opened_at = asyncio.get_running_loop().time()
        self._permit = permit
        self._request_id: str | None = None

    # What each kind says of itself.

    @property
    def metrics(self) -> Metrics:
        """Where what it is given counts."""
        return self.hub.metrics

    @property
    def execution_ids(self) -> Sequence[str]:
        """Of the executions whose events it shows."""
        raise NotImplementedError

    @property
    def position(self) -> EventId | None:
        """The last event that was written or queued for its reader, of one execution."""
        return None

    def silent_since(self, moment: float) -> Sequence[str]:
        """Its executions that have shown nothing since *moment* (loop time in seconds)."""
        return self.execution_ids if self.written_at <= moment else ()

    def step(self) -> bool:
        """Write or begin what is next while nothing waits; False if nothing is."""
        raise NotImplementedError

    def release(self) -> None:
        """Let go of what it follows: it is over, or about to end."""
        raise NotImplementedError

    # For everybody.

    def pump(self) -> None:
        """Do what is due until nothing is, or the reader is blocked: what waits, then the end."""
        while self.is_writable:
            if self.write_queue():
                continue
            if self.state is State.CLOSING:
                self.finish()
            elif not self.step():
                return

    def notify(self, frame: bytes) -> None:
        """Write a whole *frame* that moves no position, after what waits."""
        if not self.is_ending:
            self.put(frame)

    def close(self, reason: CloseReason) -> None:
        """End the stream after what waits, telling the reader why; later calls change nothing."""
        self._close(reason, closing(reason, jittered_retry_ms()))

    def close_if(self, is_revoked: Callable[[Principal], bool]) -> None:
        """End what its principal may not see any more."""
        if is_revoked(self.principal):
            self.close(CloseReason.REVOKED)

    def snapshot(self, now: float) -> Snapshot:
        """The stream at *now* (loop time)."""
        queue = self.queue or Queue()
        return Snapshot(
            self.state,
            self.reason,
            self.position,
            *self.written,
            queue.events,
            queue.bytes,
            0.0 if self.blocked_since is None else now - self.blocked_since,
            now - self.written_at,
        )

    @property
    def is_ending(self) -> bool:
        """Nothing is written to it any more but what waits."""
        return self.state in (State.CLOSING, State.CLOSED)

    # For the handler of its request.

    def opened(self, request_id: str) -> None:
        """Its response has begun: its end is counted and logged."""
        self.metrics.streams_opened += 1
        self._request_id = request_id

    def leave(self, written: int = 0) -> None:
        """Its stream is over: give everything back. *written*: bytes, where it had no connection
        of its own. Calling it again changes nothing."""
        if self.state is State.CLOSED:
            return
        self.release()
        self.state = State.CLOSED
        self.queue = None
        self._bytes += written
        self.hub.stalls.unblocked(self)
        self.hub.remove(self)
        if self._permit is not None:
            self._permit.leave()
        if self._request_id is not None:
            self._count_end(self.reason or GONE, self._request_id)

    # For the event loop, and the watch over readers that take nothing.

    def pause_writing(self) -> None:
        """Its reader takes nothing at the moment; this may be called inside a write."""
        super().pause_writing()
        self.hub.stalls.blocked(self)

    def resume_writing(self) -> None:
        """Its reader has taken everything."""
        super().resume_writing()
        self.hub.stalls.unblocked(self)
        self.pump()

    def connection_lost(self, exc: Exception | None) -> None:
        """However the connection has ended."""
        super().connection_lost(exc)
        self.leave()

    def stalled(self) -> None:
        """A reader that does not read gets no last words."""
        self.reason = CloseReason.SLOW_READER
        self.abort()

    def _close(self, reason: str, last: bytes = b"") -> None:
        if self.is_ending:
            return
        self.release()
        self.state, self.reason = State.CLOSING, reason
        if last:
            self.put(last)
        self.pump()

    def _count_end(self, reason: str, request_id: str) -> None:
        metrics, written = self.metrics, self.written
        metrics.streams_closed[reason] += 1
        metrics.bytes_delivered += written.bytes
        event(
            logger,
            "stream ended",
            execution_id=" ".join(self.execution_ids),
            organization_id=self.principal.organization_id,
            reason=reason,
            events=written.events,
            bytes=written.bytes,
            seconds=round(asyncio.get_running_loop().time() - self.opened_at, 3),
            request_id=request_id,
        )
