"""The live streams of one execution, and the one loop that writes to them.

What is counted here is what was written to a stream that was live all the time and never blocked;
a stream that joins keeps the difference (`gateway.fanout.connection`).
"""

import asyncio
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from gateway.events.ids import EventId

if TYPE_CHECKING:
    from gateway.fanout.subscriber import Subscriber

log = logging.getLogger(__name__)


class LiveStreams:
    """Those at the tip: two sets that keep up, since only one is framed, and those blocked."""

    __slots__ = (
        "_blocked", "_chunked", "_plain", "chunked_bytes", "events", "plain_bytes", "written_at",
    )  # fmt: skip

    def __init__(self) -> None:
        self.events = self.plain_bytes = self.chunked_bytes = 0
        self.written_at = 0.0
        """Loop time in seconds of the last write."""
        self._plain: dict[Subscriber, asyncio.Transport] = {}
        self._chunked: dict[Subscriber, asyncio.Transport] = {}
        self._blocked: dict[Subscriber, None] = {}

    def __len__(self) -> int:
        return len(self._plain) + len(self._chunked) + len(self._blocked)

    def __iter__(self) -> Iterator["Subscriber"]:
        """All, as they were when the loop over them began."""
        return iter([*self._plain, *self._chunked, *self._blocked])

    def __contains__(self, subscriber: "Subscriber") -> bool:
        return any(subscriber in some for some in (self._plain, self._chunked, self._blocked))

    def enter(self, subscriber: "Subscriber", transport: asyncio.Transport) -> None:
        """*subscriber* takes everything that is written to *transport*, whose protocol it is."""
        self.leave(subscriber)
        (self._chunked if subscriber.chunked else self._plain)[subscriber] = transport

    def block(self, subscriber: "Subscriber") -> None:
        """Its reader takes nothing at the moment: what comes is queued."""
        self.leave(subscriber)
        self._blocked[subscriber] = None

    def leave(self, subscriber: "Subscriber") -> None:
        """*subscriber* is not live any more."""
        for streams in (self._plain, self._chunked, self._blocked):
            streams.pop(subscriber, None)

    def write(self, data: bytes, chunk: bytes, events: int, before: EventId | None) -> int:
        """Write *data*, which is *chunk* where it is framed, to all, who stand at *before*; to how
        many."""
        now = asyncio.get_running_loop().time()
        delivered = len(self._plain) + len(self._chunked)
        for subscriber in list(self._blocked):
            delivered += subscriber.queue(data, events, before, now)
        self.written_at = now
        self.events += events
        self.plain_bytes += len(data)
        self.chunked_bytes += len(chunk)
        _write_each(self._plain, data, events)
        _write_each(self._chunked, chunk, events)
        return delivered


def _write_each(streams: dict["Subscriber", asyncio.Transport], data: bytes, events: int) -> None:
    """One write each. It may block its own stream, which leaves *streams* then, or end it."""
    transports = iter(list(streams.values()))
    while True:
        try:
            for transport in transports:
                transport.write(data)
        except Exception:
            log.exception("A stream failed and is cut off.")
            cast("Subscriber", transport.get_protocol()).fail(events, len(data))
        else:
            return
