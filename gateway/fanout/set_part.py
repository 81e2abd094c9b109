"""One execution of a stream of several: an ordinary subscriber that writes to the whole."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from gateway.errors import ExecutionForgotten
from gateway.events.batch import EventBatch
from gateway.events.ending import EndingStatus
from gateway.events.history_page import HistoryPage
from gateway.events.ids import EventId
from gateway.events.json_edit import without_member
from gateway.events.set_cursor import digest_of
from gateway.events.sse_encoder import CloseReason, frame
from gateway.fanout.internal import InternalSubscriber
from gateway.fanout.log import Log
from gateway.principal import Principal

if TYPE_CHECKING:
    from gateway.fanout.set_stream import SetStream

FRAME = re.compile(
    rb"(?:retry: [0-9]+\n)?(?:id: ([0-9]+)-([0-9]+)\n)?event: ([^\n]*)\ndata: \{([^\n]*)\n\n"
)
"""A frame as a subscriber writes it."""

_FINAL = (CloseReason.REVOKED, CloseReason.FORGOTTEN)
"""Why one execution is closed and the others go on; for any other reason a reader comes back."""

_ADMITTED_SECONDS = 15.0
"""For how long the admission counts with which a set was opened; it may take some seconds."""


class Part(InternalSubscriber):
    """One execution of a set."""

    turn_seconds = 0.1
    """So few, since its node may be lost, and parts at others wait for the turn."""

    __slots__ = ("_prefix", "digest", "whole")

    def __init__(
        self, whole: "SetStream", principal: Principal, cursor: EventId | None, log: Log
    ) -> None:
        super().__init__(principal, cursor, log)
        self.whole = whole
        self.digest = digest_of(principal.execution_id)
        self._prefix = b'{"execution_id":"%b",' % principal.execution_id.encode()

    @property
    def waiting(self) -> tuple[int, int]:
        """Events and bytes that wait for the reader."""
        kept = self._catch_up.kept_bytes if self._catch_up is not None else 0
        queue = self.queue
        return (queue.events, queue.bytes + kept) if queue is not None else (0, kept)

    @property
    def most_kept(self) -> int:
        """See `Subscriber.most_kept`: of all parts together."""
        others = sum(one.waiting[1] for one in self.whole.parts if one is not self)
        return self.hub.bounds.bytes - others - (self.queue.bytes if self.queue is not None else 0)

    def has_room(self, events: int, size: int) -> bool:
        """See `Subscriber.has_room`: of all parts together."""
        waiting = [one.waiting for one in self.whole.parts]
        bounds = self.hub.bounds
        return (
            sum(one[0] for one in waiting) + events <= bounds.events
            and sum(one[1] for one in waiting) + size <= bounds.bytes
        )

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """See `Subscriber.turn`: few parts have one at a time, while their reader takes more."""
        async with self.whole.turns:
            await self.whole.takes_more.wait()
            yield

    @property
    def admitted_again(self) -> bool:
        """See `Subscriber.admitted_again`: for its first page it was admitted a moment ago."""
        age = asyncio.get_running_loop().time() - self.opened_at
        return self.written.events > 0 or age > _ADMITTED_SECONDS

    def close(self, reason: CloseReason) -> None:
        """See `Stream.close`: the reader comes back, if at all, for all of them."""
        if reason in _FINAL:
            super().close(reason)
        else:
            self.whole.close(reason)

    async def is_over(self) -> bool:
        """Whether its reader has seen the end.

        Raises:
            RedisUnavailable: Redis could not be asked.
        """
        try:
            return (await self.opening.page()).is_over_for(self.position)
        except ExecutionForgotten:
            # Nothing will ever come.
            return True

    # A reader who has seen this execution's end may be here for the others.

    def show(self, page: HistoryPage, frames: bytes) -> None:
        """See `Subscriber.show`."""
        is_over = page.is_over_for(self.position)
        super().show(page, frames)
        if is_over and page.ending is not None:
            self.complete(page.ending.status)

    def go_live(self, missed: list[EventBatch]) -> None:
        """See `Subscriber.go_live`."""
        super().go_live(missed)
        ending = self.log.ending
        if ending is not None:
            self.complete(ending.status)

    def complete(self, status: EndingStatus | None) -> None:
        """See `Subscriber.complete`."""
        if not self.is_ending:
            # After what waits: its reader has seen all by then.
            self.put(frame("stream:ended", {"status": status}))
        super().complete(status)

    def leave(self, written: int = 0) -> None:
        """See `Stream.leave`."""
        super().leave(written)
        # Each refers to the other.
        self.transport = None

    def reframed(self, found: re.Match[bytes], cursor: Callable[[EventId], bytes]) -> bytes:
        """One frame of its own as it is shown in the set."""
        epoch, seq, name, data = found.groups()
        if not name.startswith(b"stream:") and (b"execution_id" in data or b"\\" in data):
            # A producer's own member of this name would hide ours from most JSON parsers.
            data = without_member(b"{" + data, "execution_id")[1:]
        line = b"" if epoch is None else b"id: %b\n" % cursor(EventId(int(epoch), int(seq)))
        return b"%bevent: %b\ndata: %b%b\n\n" % (line, name, self._prefix, data)
