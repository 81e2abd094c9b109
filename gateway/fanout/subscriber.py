"""A subscriber is one open stream: the bounded queue between the feed and one reader's socket.

The feed offers, and never waits; the stream's handler takes, and is the only one that writes to
the socket. It does not write, and it does not know which event it carries.

The queue is a list with a byte count and a future instead of `asyncio.Queue`, which can neither be
bounded by bytes nor be emptied in one step, and costs three deques for every idle tab.
"""

import asyncio
from dataclasses import dataclass

from gateway.events.reasons import CloseReason
from gateway.events.sse import closing

COMPLETED = "completed"
"""The end of a stream whose execution has ended; every other end is a CloseReason."""


@dataclass(frozen=True, slots=True)
class Burst:
    """Consecutive events of one execution, joined once for all of its subscribers."""

    data: bytes
    events: int
    terminal: bool = False
    """The last of them ends the execution, and with it every stream."""


class Subscriber:
    """One open stream of one execution.

    `offer` and `close` never await, so that no reader can hold up the feed. Once `ended` is set
    nothing more is taken in: what waits is still written, then the stream ends.
    """

    __slots__ = (
        "_bytes", "_events", "_max_bytes", "_max_events", "_waiting", "_waker",
        "ended", "execution_id", "last_activity", "left", "opened_at", "organization_id",
    )  # fmt: skip

    def __init__(
        self,
        execution_id: str,
        organization_id: str,
        *,
        max_events: int,
        max_bytes: int,
        now: float,
    ) -> None:
        self.execution_id = execution_id
        self.organization_id = organization_id
        self.opened_at = now
        self.last_activity = now
        """Loop time in seconds of the last frame taken in: silence is counted from here."""
        self.ended: str | None = None
        """Why nothing more is taken in: `completed` or a close reason."""
        self.left = False
        """The stream is over and out of the hub; nobody may write to it."""
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._waiting: list[bytes] | None = None
        self._events = 0
        self._bytes = 0
        self._waker: asyncio.Future[None] | None = None

    @property
    def waiting(self) -> tuple[int, int]:
        """How many events and bytes wait for the reader."""
        return self._events, self._bytes

    def offer(self, burst: Burst, now: float) -> bool:
        """Queue *burst*, or return False: the reader is too far behind, or the stream has ended.

        A burst that alone is larger than the queue is taken when nothing else waits; otherwise a
        single large event could never be delivered.
        """
        if self.ended is not None:
            return False
        full = (
            self._events + burst.events > self._max_events
            or self._bytes + len(burst.data) > self._max_bytes
        )
        if full and self._waiting:
            return False
        self._events += burst.events
        self._put(burst.data, now)
        if burst.terminal:
            self.ended = COMPLETED
        return True

    def close(self, reason: CloseReason, retry_ms: int, now: float) -> None:
        """End the stream after what waits, telling the reader why; later calls change nothing."""
        if self.ended is None:
            self._put(closing(reason, retry_ms), now)
            self.ended = reason

    def _put(self, data: bytes, now: float) -> None:
        self.last_activity = now
        self._bytes += len(data)
        if self._waiting is None:
            self._waiting = [data]
        else:
            self._waiting.append(data)
        if self._waker is not None:
            if not self._waker.done():
                self._waker.set_result(None)
            self._waker = None

    async def take(self) -> bytes | None:
        """Everything that waits, as one write; None when the stream has ended."""
        while self._waiting is None:
            if self.ended is not None:
                return None
            self._waker = asyncio.get_running_loop().create_future()
            await self._waker
        data = self._waiting[0] if len(self._waiting) == 1 else b"".join(self._waiting)
        # An empty list would cost every idle tab its 56 bytes and more.
        self._waiting = None
        self._events = self._bytes = 0
        return data
