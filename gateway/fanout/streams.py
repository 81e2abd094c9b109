"""All streams of one execution, and the one loop that writes to those at its tip.

What is counted here is what was written to a stream that was live all the time and never blocked;
a stream that joins keeps the difference (`gateway.fanout.subscriber`).
"""

import asyncio
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeVar, cast

from gateway.events.ids import EventId
from gateway.fanout.connection import Connection

if TYPE_CHECKING:
    from gateway.fanout.subscriber import Subscriber

log = logging.getLogger(__name__)

T = TypeVar("T")

_NOBODY: dict[Any, Any] = {}
"""Nothing is put into it: four dicts of its own would cost each quiet execution half a KiB."""


class Streams:
    """Those at the tip (two sets that keep up, since only one is framed, and those blocked) and
    those behind it."""

    __slots__ = (
        "_behind", "_blocked", "_chunked", "_chunked_bytes", "_plain", "_plain_bytes", "events",
        "written_at",
    )  # fmt: skip

    def __init__(self) -> None:
        self.events = self._plain_bytes = self._chunked_bytes = 0
        self.written_at = 0.0
        """Loop time in seconds of the last write."""
        self._plain: dict[Subscriber, asyncio.Transport] = _NOBODY
        self._chunked: dict[Subscriber, asyncio.Transport] = _NOBODY
        self._blocked: dict[Subscriber, None] = _NOBODY
        self._behind: dict[Subscriber, None] = _NOBODY

    def __bool__(self) -> bool:
        return bool(self._plain or self._chunked or self._blocked or self._behind)

    def __iter__(self) -> "Iterator[Subscriber]":
        """All, as they were when the loop over them began."""
        return iter([*self.live, *self._behind])

    @property
    def live(self) -> "list[Subscriber]":
        """Those at the tip."""
        return [*self._plain, *self._chunked, *self._blocked]

    @property
    def behind(self) -> "list[Subscriber]":
        """Those that are opening, catching up or closing."""
        return list(self._behind)

    def enter(self, subscriber: "Subscriber", connection: Connection) -> None:
        """*subscriber* stands at the tip, and takes all that is written to its *connection*."""
        self.remove(subscriber)
        if (transport := connection.transport) is None:
            return
        if connection.chunked:
            self._chunked = _with(self._chunked, subscriber, transport)
        else:
            self._plain = _with(self._plain, subscriber, transport)

    def block(self, subscriber: "Subscriber") -> None:
        """It stands at the tip and takes nothing at the moment: what comes is queued."""
        self.remove(subscriber)
        self._blocked = _with(self._blocked, subscriber, None)

    def leave(self, subscriber: "Subscriber") -> None:
        """It is behind the tip, or about to end."""
        self.remove(subscriber)
        self._behind = _with(self._behind, subscriber, None)

    def remove(self, subscriber: "Subscriber") -> None:
        """Its stream is over."""
        self._plain = _without(self._plain, subscriber)
        self._chunked = _without(self._chunked, subscriber)
        self._blocked = _without(self._blocked, subscriber)
        self._behind = _without(self._behind, subscriber)

    def size(self, *, chunked: bool) -> int:
        """Bytes that were written to a stream, chunked or not."""
        return self._chunked_bytes if chunked else self._plain_bytes

    def write(self, data: bytes, chunk: bytes, events: int, before: EventId | None) -> int:
        """Write *data*, which is *chunk* where it is framed, to all who stand at the tip, which was
        *before*; to how many."""
        now = asyncio.get_running_loop().time()
        delivered = len(self._plain) + len(self._chunked)
        for subscriber in list(self._blocked):
            delivered += subscriber.queue(data, events, before)
        self.written_at = now
        self.events += events
        self._plain_bytes += len(data)
        self._chunked_bytes += len(chunk)
        _write_each(self._plain, data, events)
        _write_each(self._chunked, chunk, events)
        return delivered


def _with(streams: "dict[Subscriber, T]", one: "Subscriber", what: T) -> "dict[Subscriber, T]":
    if not streams:
        return {one: what}
    streams[one] = what
    return streams


def _without(streams: "dict[Subscriber, T]", one: "Subscriber") -> "dict[Subscriber, T]":
    streams.pop(one, None)
    # An emptied dict still holds its table.
    return streams or _NOBODY


def _write_each(streams: "dict[Subscriber, asyncio.Transport]", data: bytes, events: int) -> None:
    """One write each. It may block its own stream, which leaves *streams* then, or end it."""
    transports = iter(list(streams.values()))
    while True:
        try:
            for transport in transports:
                transport.write(data)
        except Exception:
            log.exception("A stream failed and is cut off.")
            cast(Connection, transport.get_protocol()).fail(events, len(data))
        else:
            return
