"""A subscriber is one open stream: the bounded queue between the feed and one reader's socket.

It is *live* or *held*. Live, it takes an event only if its id follows the last one; whatever does
not follow makes it held: a hole, another life, a full queue. Held, it catches up from history and
is live again. No gap and no duplicate, by id: this one rule is first replay, reconnect, repair,
slow reader and failover (DELIVERY.md, rule 1).

The feed offers, and never waits. What the outlet takes at once never enters the queue; the queue
holds what came while its reader was behind, or while history was being written. It is a list with
a byte count instead of `asyncio.Queue`, which can neither be bounded by bytes nor be emptied in one
step, and costs three deques an idle tab.
"""

from typing import Protocol

from gateway.events.batch import EventBatch
from gateway.events.ids import EventId
from gateway.events.sse_encoder import CloseReason, closing
from gateway.principal import Principal

COMPLETED = "completed"
"""The end of a stream whose execution has ended."""
GONE = "gone"
"""The end of a stream whose reader has left; every other end is a CloseReason."""


class Sink(Protocol):
    """The writing end of a stream, as its subscriber sees it; nothing in it waits."""

    @property
    def behind_since(self) -> float | None:
        """Loop time in seconds since when its reader is behind; None for one that is not."""

    @property
    def written(self) -> int:
        """Bytes of the body that were written."""

    def offer(self, burst: EventBatch) -> bool:
        """Write *burst* at once; False if the reader is behind, and nothing was written."""

    def wake(self) -> None:
        """Something waits, or the subscriber is held, or has ended: see to it."""

    def abort(self) -> None:
        """End the connection without a word."""


class Subscriber:
    """One open stream of one execution; it begins held and without a sink. Nothing in it awaits."""

    __slots__ = (
        "_bytes", "_early", "_early_bytes", "_events", "_max_bytes", "_max_events", "_sink",
        "_waiting", "delivered", "ended", "execution_id", "held", "last_activity", "left",
        "opened_at", "overrun", "position", "principal",
    )  # fmt: skip

    def __init__(
        self, principal: Principal, *, max_events: int, max_bytes: int, now: float
    ) -> None:
        self.principal = principal
        self.execution_id = principal.execution_id
        """The viewer's, one look-up nearer: every event and heartbeat asks for it."""
        self.opened_at = now
        self.last_activity = now
        """Loop time in seconds of the last frame taken in: silence is counted from here."""
        self.delivered = 0
        """Events that were taken in for its reader, live or from history."""
        self.ended: str | None = None
        """Why nothing more is taken in: `completed` or a close reason."""
        self.left = False
        """The stream is over and out of the hub; nobody may write to it."""
        self.position: EventId | None = None
        """The last event that was taken in: the next one must follow it."""
        self.held = True
        self.overrun = False
        """More came than its queue holds while its reader was catching up or slow."""
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._waiting: list[bytes] | None = None
        self._events = 0
        self._bytes = 0
        self._early: list[EventBatch] | None = []
        self._early_bytes = 0
        self._sink: Sink | None = None

    @property
    def reason(self) -> str:
        """Why the stream has ended: `completed`, a close reason, or `gone` when its reader left."""
        return self.ended or GONE

    @property
    def waiting(self) -> tuple[int, int]:
        """How many events and bytes wait for the reader."""
        return self._events, self._bytes

    @property
    def attached(self) -> bool:
        """Whether it has a connection: its opening is over."""
        return self._sink is not None

    @property
    def written(self) -> int:
        """Bytes of the body that were written."""
        return self._sink.written if self._sink is not None else 0

    @property
    def is_behind(self) -> bool:
        """Whether its reader has not taken all that was written."""
        return self._sink is not None and self._sink.behind_since is not None

    def lag(self, now: float) -> float:
        """Seconds for which its reader has been behind at *now* (loop time)."""
        since = self._sink.behind_since if self._sink is not None else None
        return now - since if since is not None else 0.0

    def attach(self, sink: Sink) -> None:
        """Write through *sink* from now on; it is woken for what waits already."""
        self._sink = sink
        sink.wake()

    def detach(self) -> None:
        """Its connection has ended. Without it the two would keep each other until a pass of the
        garbage collector, which comes seldom (`gateway.process`)."""
        self._sink = None
        self._waiting = self._early = None

    def offer(self, burst: EventBatch, now: float) -> int:
        """Take in what of *burst* follows, and say how many events that is: none if it does not
        follow, or not yet. Nothing is lost by that: what has an id is in history, from where a
        held subscriber gets it."""
        if self.ended is not None:
            return 0
        if self.held:
            self._keep_early(burst)
            return 0
        following = burst
        if burst.first is not None and burst.before != self.position:
            rest = self._following(burst)
            if rest is None:
                return 0
            following = rest
        if self._waiting is None and self._sink is not None and self._sink.offer(following):
            self.last_activity = now
        elif not self._queue(following, now):
            return 0
        count = len(following)
        self.delivered += count
        if following.last is not None:
            self.position = following.last
        if following.terminal:
            self.complete()
        return count

    def _following(self, burst: EventBatch) -> EventBatch | None:
        """What of *burst*, which does not begin at the next id, is new; holds at a hole."""
        position, first, last = self.position, burst.first, burst.last
        if position is not None and first is not None and last is not None:
            if position.is_at_or_after(last):
                return None
            if position.is_at_or_after(first):
                return burst.after(position)
        # Also without a position: only what history holds may become one.
        self.hold()
        return None

    def _queue(self, burst: EventBatch, now: float) -> bool:
        if self._is_full_for(burst):
            self.overrun = True
            self.hold()
            return False
        self._events += len(burst)
        self.send(burst.data, now)
        return True

    def _is_full_for(self, burst: EventBatch) -> bool:
        # A burst larger than the whole queue is taken when nothing else waits, or it never could.
        if self._waiting is None:
            return False
        return (
            self._events + len(burst) > self._max_events
            or self._bytes + len(burst.data) > self._max_bytes
        )

    def hold(self) -> None:
        """Let the reader catch up from history once it has taken what waits."""
        self.held = True
        self._early = None
        self._wake()

    def collect(self) -> None:
        """Keep from now on what is offered: history is about to be read. What was offered before
        is in that history."""
        self._early = []
        self._early_bytes = 0

    def _keep_early(self, burst: EventBatch) -> None:
        self._early_bytes += len(burst.data)
        if self._early is None or self._early_bytes > self._max_bytes:
            self._early = None
            self.overrun = True
        else:
            self._early.append(burst)

    def release(self, now: float) -> int:
        """Be live again: history was read to its end. If what came meanwhile does not follow,
        it is held again, and history is to be read again. Says how many events it took in."""
        early, self._early = self._early, None
        if early is None:
            return 0
        self.held = self.overrun = False
        return sum(self.offer(burst, now) for burst in early)

    def audit(self, last: EventId | None) -> bool:
        """Compare with the *last* id of history; True if something was missed, and it is held."""
        if self.held or self.ended is not None or self.position == last:
            return False
        if self.position is not None and last is not None and self.position.is_at_or_after(last):
            return False
        self.hold()
        return True

    def send(self, data: bytes, now: float) -> None:
        """Queue *data*, which is whole frames and moves no position."""
        self.last_activity = now
        self._bytes += len(data)
        if self._waiting is None:
            self._waiting = [data]
        else:
            self._waiting.append(data)
        self._wake()

    def close(self, reason: CloseReason, retry_ms: int, now: float) -> None:
        """End the stream after what waits, telling the reader why; later calls change nothing."""
        if self.ended is None:
            self.ended = reason
            self.send(closing(reason, retry_ms), now)

    def complete(self) -> None:
        """End the stream after what waits: the execution has ended."""
        self.ended = self.ended or COMPLETED
        self._wake()

    def abort(self) -> None:
        """End the stream without a word; one that is still being opened is aiohttp's to end."""
        if self._sink is not None:
            self._sink.abort()

    def _wake(self) -> None:
        if self._sink is not None:
            self._sink.wake()

    def take(self) -> bytes:
        """All that waits now, to be written as one; nothing if nothing does."""
        if self._waiting is None:
            return b""
        data = self._waiting[0] if len(self._waiting) == 1 else b"".join(self._waiting)
        # An empty list would cost every idle tab its 56 bytes and more.
        self._waiting = None
        self._events = self._bytes = 0
        return data
