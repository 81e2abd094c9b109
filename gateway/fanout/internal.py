"""A subscriber without a reader of its own: what it writes goes to a function in this process.

So a stream of many executions, or a list, can follow each execution with an ordinary subscriber,
with its replay, its repairs and its checks.

It is made with `InternalSubscriber(principal, cursor, hub.log_of(execution_id))` and begins with
`attach(LocalTransport(…), None, b"", 0, chunked=False)`. At its end the transport calls *ended*.
Its owner ends it with `leave`, and must close it if access is revoked: the hub does not count it.
"""

import asyncio
from collections.abc import Callable

from gateway.events.ids import EventId
from gateway.fanout.log import Log
from gateway.fanout.subscriber import Subscriber
from gateway.principal import Principal


class InternalSubscriber(Subscriber):
    """Follows one execution for something in this process."""

    is_internal = True

    __slots__ = ()

    def __init__(self, principal: Principal, cursor: EventId | None, log: Log) -> None:
        super().__init__(principal, cursor, log, None)

    def pause_writing(self) -> None:
        """Its owner takes no more at the moment, and watches the one that it waits for."""
        super().pause_writing()
        self.hub.stalls.unblocked(self)


class LocalTransport(asyncio.Transport):
    """Gives every write to *take*, at once.

    Its owner says by `pause` that it takes no more at the moment, and by `resume` that it does
    again. What is written between the two reaches *take* all the same, as a kernel's buffer would
    take it.
    """

    def __init__(self, take: Callable[[bytes], None], ended: Callable[[bool], None]) -> None:
        """*ended* is called once, at once: with True after the last write of a stream that was
        closed, with False where it was cut off."""
        super().__init__()
        self._take = take
        self._ended = ended
        self._protocol: asyncio.BaseProtocol = asyncio.Protocol()
        self._closing = False
        self._paused = False

    # For its owner.

    def pause(self) -> None:
        """Nothing more is wanted for the moment."""
        if not self._paused:
            self._paused = True
            self._protocol.pause_writing()

    def resume(self) -> None:
        """All that was written is taken."""
        if self._paused:
            self._paused = False
            self._protocol.resume_writing()

    # For the protocol.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._closing:
            self._take(bytes(data))

    def close(self) -> None:
        self._end(whole=True)

    def abort(self) -> None:
        self._end(whole=False)

    def _end(self, *, whole: bool) -> None:
        if not self._closing:
            self._closing = True
            # Never inside the call that ends it: asyncio promises that of `connection_lost`.
            asyncio.get_running_loop().call_soon(self._lost)
            self._ended(whole)

    def _lost(self) -> None:
        self._protocol.connection_lost(None)

    def is_closing(self) -> bool:
        return self._closing

    def get_write_buffer_size(self) -> int:
        """One byte while it is paused: a protocol that is given it then must pause too."""
        return int(self._paused)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There is no buffer."""

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol
