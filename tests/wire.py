"""A transport that takes as many bytes as the test says.

It tells its protocol of it as uvloop does: at once, inside `write`.
"""

import asyncio
from typing import Any

ENDLESS = 10**9
"""Bytes that a reader takes who takes everything."""


class Wire(asyncio.Transport):
    """A connection whose kernel takes `room` more bytes, until its reader reads on."""

    def __init__(self) -> None:
        super().__init__()
        self.protocol: Any = None
        self.received = bytearray()
        self.room = ENDLESS
        self.breaks = False
        """The next write finds that the connection is broken."""
        self.raises = False
        """The same, and the write raises as uvloop's does on a handle that is closed."""
        self.ended = False
        self._waiting = bytearray()
        self._high = 64 * 1024
        self._paused = False
        self._closing = False

    @property
    def reads(self) -> bool:
        """Whether its reader takes all that comes."""
        return self.room > ENDLESS // 2

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.breaks:
            # The kernel has said so: the loop tells the protocol later.
            self.abort()
        if self.raises:
            self.abort()
            raise RuntimeError("unable to perform operation on a transport; the handler is closed")
        if self._closing:
            return
        taken = min(self.room, len(data)) if not self._waiting else 0
        self.room -= taken
        self.received += data[:taken]
        self._waiting += data[taken:]
        self._maybe_pause()

    def _maybe_pause(self) -> None:
        if len(self._waiting) > self._high and not self._paused:
            self._paused = True
            self.protocol.pause_writing()

    def read_on(self) -> None:
        """The reader takes all that waits, and whatever comes."""
        self.room = ENDLESS
        self.received += self._waiting
        self._waiting.clear()
        if self._paused:
            self._paused = False
            self.protocol.resume_writing()
        if self._closing:
            self._lose()

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            if not self._waiting:
                self._lose()

    def abort(self) -> None:
        self._closing = True
        self._waiting.clear()
        self._lose()

    def leave(self) -> None:
        """The reader closes its connection."""
        self.abort()

    def _lose(self) -> None:
        if not self.ended:
            self.ended = True
            asyncio.get_running_loop().call_soon(self._lost)

    def _lost(self) -> None:
        self.protocol.connection_lost(None)

    def is_closing(self) -> bool:
        return self._closing

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol  # type: ignore[no-any-return]

    def get_write_buffer_size(self) -> int:
        return len(self._waiting)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = 64 * 1024 if high is None else high
        self._maybe_pause()

    def pause_reading(self) -> None:
        """A reader of a stream has nothing to say."""

    def resume_reading(self) -> None:
        """See above."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else default
