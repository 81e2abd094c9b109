"""All streams of one execution, and the one loop that writes to those at its tip."""

import asyncio
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from gateway.fanout.connection import Connection
    from gateway.fanout.subscriber import Subscriber

    Place = dict[Subscriber, asyncio.Transport | None]

log = logging.getLogger(__name__)


class Group:
    """Streams at the tip that keep up, all framed alike, and what the log has written to each
    while it was in here: a stream that joins keeps the difference."""

    __slots__ = ("bytes", "events", "streams", "written_at")

    def __init__(self) -> None:
        self.streams: Place = {}
        self.events = self.bytes = 0
        self.written_at = 0.0
        """Loop time in seconds of the last write."""

    def write(self, data: bytes, events: int) -> None:
        """One write each. It may block its own stream, which leaves the group then, or end it."""
        self.written_at = asyncio.get_running_loop().time()
        self.events += events
        self.bytes += len(data)
        transports = iter(cast(list[asyncio.Transport], list(self.streams.values())))
        while True:
            try:
                for transport in transports:
                    transport.write(data)
            except Exception:
                log.exception("A stream failed and is cut off.")
                cast("Connection", transport.get_protocol()).fail(events, len(data))
            else:
                return


class Streams:
    """Each stream is in one of five places: at the tip in one of three groups, since only one is
    framed and one is not counted, or blocked; or behind the tip, where those are that open, catch
    up or close."""

    __slots__ = ("behind", "blocked", "chunked", "plain", "uncounted")

    def __init__(self) -> None:
        self.plain, self.chunked = Group(), Group()
        self.uncounted: Group | None = None
        """Made when first needed: of most executions nobody shows a list."""
        self.blocked: Place = {}
        self.behind: Place = {}

    def __bool__(self) -> bool:
        return any(self._places)

    @property
    def _places(self) -> "list[Place]":
        places = [self.plain.streams, self.chunked.streams, self.blocked, self.behind]
        if self.uncounted is not None:
            places.append(self.uncounted.streams)
        return places

    def __iter__(self) -> "Iterator[Subscriber]":
        """All, as they were when the loop over them began."""
        return iter([*self.live, *self.behind])

    @property
    def live(self) -> "list[Subscriber]":
        """Those at the tip."""
        uncounted = self.uncounted.streams if self.uncounted is not None else ()
        return [*self.plain.streams, *self.chunked.streams, *uncounted, *self.blocked]

    @property
    def watching(self) -> int:
        """How many are counted, wherever they are."""
        at_tip = len(self.plain.streams) + len(self.chunked.streams)
        return at_tip + sum(one.is_counted for one in [*self.blocked, *self.behind])

    def group_of(self, subscriber: "Subscriber") -> Group:
        """Where *subscriber* is when it is at the tip and keeps up."""
        if not subscriber.is_counted:
            self.uncounted = self.uncounted or Group()
            return self.uncounted
        return self.chunked if subscriber.chunked else self.plain

    def move(self, subscriber: "Subscriber", to: "Place") -> None:
        """*subscriber* is in this place now, and in no other."""
        self.remove(subscriber)
        to[subscriber] = subscriber.transport

    def remove(self, subscriber: "Subscriber") -> None:
        """Its stream is over."""
        for place in self._places:
            place.pop(subscriber, None)
            if not place:
                # Else it keeps its table, a quarter of a KiB in each quiet execution.
                place.clear()

    def write(self, data: bytes, chunk: bytes, events: int) -> int:
        """Write *data*, which is *chunk* where it is framed, to all at the tip; to how many."""
        delivered = len(self.plain.streams) + len(self.chunked.streams)
        for subscriber in list(self.blocked):
            delivered += subscriber.queue_up(data, events)
        self.plain.write(data, events)
        self.chunked.write(chunk, events)
        if self.uncounted is not None:
            self.uncounted.write(data, events)
        return delivered
