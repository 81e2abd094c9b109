"""The streams at the tip of one execution's log, and the one loop that writes to them."""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from gateway.events.batch import EventBatch
from gateway.events.history_page import Ending
from gateway.events.ids import EventId

if TYPE_CHECKING:
    from gateway.fanout.hub import Hub
    from gateway.fanout.subscriber import Subscriber

log = logging.getLogger(__name__)

Write = Callable[[bytes], None]


class Tip:
    """One execution's tip: where it is, who is there, and what was written there so far."""

    __slots__ = (
        "_blocked", "_chunked", "_hub", "_plain", "chunked_bytes", "ending", "events",
        "execution_id", "is_known", "plain_bytes", "subscribers", "tip", "written_at",
    )  # fmt: skip

    def __init__(self, execution_id: str, hub: "Hub") -> None:
        self.execution_id = execution_id
        self._hub = hub
        self.subscribers: dict[Subscriber, None] = {}
        """All streams of this execution, whatever their state."""
        self.tip: EventId | None = None
        """The last event that was written to those who are live; None before the first one."""
        self.is_known = False
        """Whether `tip` is known: history was read to its end."""
        self.ending: Ending | None = None
        self.events = self.plain_bytes = self.chunked_bytes = 0
        """What was written so far to a stream that was at the tip all the time, never blocked."""
        self.written_at = 0.0
        """Loop time in seconds of the last write to those."""
        # At the tip and keeping up, with what writes to each; two sets, since only one is framed.
        self._plain: dict[Subscriber, Write] = {}
        self._chunked: dict[Subscriber, Write] = {}
        self._blocked: dict[Subscriber, None] = {}

    def is_tip(self, position: EventId | None) -> bool:
        """Whether a stream at *position* lacks nothing."""
        return self.is_known and self.tip == position

    def enter(self, subscriber: "Subscriber", write: Write) -> None:
        """*subscriber* stands at the tip, and *write* takes everything."""
        self._blocked.pop(subscriber, None)
        streams = self._chunked if subscriber.chunked else self._plain
        streams[subscriber] = write

    def block(self, subscriber: "Subscriber") -> None:
        """*subscriber* stands at the tip; what comes is queued, since its reader is behind."""
        self._take_out(subscriber)
        self._blocked[subscriber] = None

    def leave(self, subscriber: "Subscriber") -> None:
        """*subscriber* is not at the tip any more."""
        self._take_out(subscriber)
        self._blocked.pop(subscriber, None)

    def _take_out(self, subscriber: "Subscriber") -> None:
        streams = self._chunked if subscriber.chunked else self._plain
        streams.pop(subscriber, None)

    def _live(self) -> list["Subscriber"]:
        return [*self._plain, *self._chunked, *self._blocked]

    def _write(self, data: bytes, chunk: bytes, events: int, before: EventId | None) -> None:
        """To all at the tip: one write each. A write may block its own stream, or end it."""
        now = asyncio.get_running_loop().time()
        delivered = len(self._plain) + len(self._chunked)
        for subscriber in list(self._blocked):
            delivered += subscriber.queue(data, events, before, now)
        self.written_at = now
        self.events += events
        self.plain_bytes += len(data)
        self.chunked_bytes += len(chunk)
        for streams, framed in ((self._plain, data), (self._chunked, chunk)):
            for subscriber, write in list(streams.items()):
                try:
                    write(framed)
                except Exception:
                    log.exception("A stream of %s failed and is cut off.", self.execution_id)
                    subscriber.fail(events, len(framed))
        self._hub.metrics.events_delivered += events * delivered

    def _publish_without_ids(self, batch: EventBatch) -> None:
        """These are in no history: a stream that catches up keeps those that come meanwhile."""
        self._write(batch.data, batch.chunk, len(batch), self.tip)
        live = {*self._plain, *self._chunked, *self._blocked}
        for subscriber in list(self.subscribers):
            if subscriber not in live:
                subscriber.keep(batch)
            elif batch.terminal:
                subscriber.complete()

    def _end(self, ending: Ending) -> None:
        self.ending = ending
        for subscriber in [*self._plain, *self._chunked, *self._blocked]:
            subscriber.complete()
