"""The connection of one open stream: what is written to it, what waits, and the totals of both.

It is the transport's protocol after aiohttp has given the transport away. While its reader
keeps up, everything is written at once; while the kernel has not taken everything, what comes waits
in a queue. What the stream shows is decided by `gateway.fanout.subscriber`.
"""

import asyncio
from dataclasses import dataclass, field
from typing import NamedTuple

from gateway.events.batch import as_chunk
from gateway.fanout.streams import Group

_LAST_CHUNK = b"0\r\n\r\n"
"""RFC 9112, section 7.1: without it the body was cut off."""


class Written(NamedTuple):
    """What a stream was given: events, and bytes of the body with its framing."""

    events: int
    bytes: int


@dataclass(slots=True)
class Queue:
    """What waits for a reader, and how much it is."""

    frames: list[bytes] = field(default_factory=list)
    events: int = 0
    bytes: int = 0


class Connection(asyncio.Protocol):
    """Writes the bytes of one stream, in order, and counts them."""

    __slots__ = (
        "_bytes", "_events", "_written_at", "blocked_since", "chunked", "group", "queue",
        "transport",
    )  # fmt: skip

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.chunked = True
        """Whether the body goes in chunks: not for HTTP/1.0."""
        self.group: Group | None = None
        """Where the log writes to it: at the tip and not blocked. Then what is counted here lacks
        what was written there."""
        self._events = self._bytes = 0
        self._written_at = asyncio.get_running_loop().time()
        self.blocked_since: float | None = None
        """Loop time in seconds since when the kernel has not taken everything."""
        # Made when first needed: it would cost every idle tab 150 bytes.
        self.queue: Queue | None = None

    def connect(self, transport: asyncio.Transport, written: int, *, chunked: bool) -> None:
        """Be the protocol of *transport*, to which *written* bytes of the body went already."""
        self.transport, self.chunked, self._bytes = transport, chunked, written
        transport.set_protocol(self)
        # Paused as soon as one byte is left over, resumed when none is: the transport itself tells
        # who is blocked, and nobody has to ask before or after each write.
        transport.set_write_buffer_limits(high=0)
        if transport.get_write_buffer_size() and self.blocked_since is None:
            self.pause_writing()

    @property
    def is_writable(self) -> bool:
        """Whether the reader takes more."""
        return self.blocked_since is None and not (
            self.transport is None or self.transport.is_closing()
        )

    # What is written.

    def put(self, data: bytes, events: int = 0) -> None:
        """Write *data*, whole frames with so many *events*, at once or after what waits."""
        if self.queue is None and self.is_writable:
            self.write(data, events)
            return
        self._events += events
        self._written_at = asyncio.get_running_loop().time()
        queue = self.queue = self.queue or Queue()
        queue.frames.append(data)
        queue.events += events
        queue.bytes += len(data)

    def write_queue(self) -> bool:
        """Write what waits, as one; False if nothing does."""
        if self.queue is None:
            return False
        queue, self.queue = self.queue, None
        self.write(b"".join(queue.frames))
        return True

    def write(self, data: bytes, events: int = 0, *, framed: bool = False) -> None:
        """The only one that writes, but for the log's loop."""
        self._events += events
        self._written_at = asyncio.get_running_loop().time()
        if self.transport is None:
            return
        if self.chunked and not framed:
            data = as_chunk(data)
        self._bytes += len(data)
        try:
            self.transport.write(data)
        except Exception:
            # As the log's loop: on a handle that was closed a moment before.
            self.fail(events, len(data))

    def fail(self, events: int, size: int) -> None:
        """The last write, of so many *events* and bytes, went wrong."""
        self.abort()
        self._events -= events
        self._bytes -= size

    def abort(self) -> None:
        """Cut the connection."""
        if self.transport is not None:
            self.transport.abort()

    def finish(self) -> None:
        """End the response and the connection, after all that was written."""
        if self.chunked:
            self.write(_LAST_CHUNK, framed=True)
        if self.transport is not None:
            # Sends what is left first; a reader that does not take it is the stall watch's.
            self.transport.close()

    # What it came to.

    def join_group(self, group: Group) -> None:
        """The log writes to it from now on, in this *group*, and counts."""
        self._events -= group.events
        self._bytes -= group.bytes
        self.group = group

    def leave_group(self) -> None:
        """The log has written to it until now, if it did."""
        self._written_at = self.written_at
        self._events, self._bytes = self.written
        self.group = None

    @property
    def written(self) -> Written:
        """All that it was given."""
        if (group := self.group) is None:
            return Written(self._events, self._bytes)
        return Written(self._events + group.events, self._bytes + group.bytes)

    @property
    def written_at(self) -> float:
        """Loop time in seconds of the last frame that was written or queued."""
        return max(self._written_at, self.group.written_at if self.group is not None else 0.0)

    @property
    def taken(self) -> int:
        """Bytes that the kernel has taken, of those that were written."""
        waiting = self.transport.get_write_buffer_size() if self.transport is not None else 0
        return self.written.bytes - waiting

    # For the event loop.

    def data_received(self, data: bytes) -> None:
        """A reader has nothing to say; the response has announced the connection's end."""

    def pause_writing(self) -> None:
        """The kernel has not taken everything. The loop may call this inside a write."""
        self.blocked_since = asyncio.get_running_loop().time()

    def resume_writing(self) -> None:
        """The kernel has taken everything."""
        self.blocked_since = None

    def connection_lost(self, exc: Exception | None) -> None:
        """However the connection has ended."""
        self.transport = None
