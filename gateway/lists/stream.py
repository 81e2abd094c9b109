"""One open stream of a list.

A list is state, not history: a reader that does not keep up misses updates, and gets a new snapshot
when it reads again.
"""

import asyncio
from collections.abc import Callable, Sequence

from gateway.fanout.hub import Hub
from gateway.fanout.state import Permit, State
from gateway.fanout.stream import Stream
from gateway.principal import Principal


class ListStream(Stream):
    """One open stream of one list."""

    __slots__ = ("_misses", "on_left", "snapshot_of_all")

    def __init__(self, principal: Principal, permit: Permit, hub: Hub) -> None:
        super().__init__(principal, hub, permit)
        self._misses = False
        """It was given something that it did not take."""
        self.snapshot_of_all: Callable[[], bytes] = bytes
        self.on_left: Callable[[], object] = _nothing

    @property
    def execution_ids(self) -> Sequence[str]:
        """None in particular."""
        return ()

    def attach(
        self, transport: asyncio.Transport, rest: bytes, written: int, *, chunked: bool
    ) -> None:
        """Take over *transport*; *written* bytes went there already, and *rest* is to follow."""
        if self.state is State.OPENING:
            self.state = State.LIVE
        queue, self.queue = self.queue, None
        self.connect(transport, written, chunked=chunked)
        if rest:
            self.put(rest)
        for frame in queue.frames if queue is not None else ():
            self.put(frame)
        self.pump()

    def give(self, data: bytes, chunk: bytes, updates: int) -> None:
        """Write *data*, which is *chunk* where it is framed, unless its reader is blocked: then it
        gets all of the list later."""
        if self.is_ending:
            return
        if self.queue is not None or not self.is_writable:
            self._misses = True
        elif self.chunked:
            self.write(chunk, updates, framed=True)
        else:
            self.write(data, updates)

    def step(self) -> bool:
        """See `Stream.step`."""
        misses, self._misses = self._misses, False
        if misses:
            self.write(self.snapshot_of_all())
        return misses

    def release(self) -> None:
        """It is shown nothing more."""
        on_left, self.on_left = self.on_left, _nothing
        on_left()


def _nothing() -> None:
    """In place of what refers to the stream: no stream leaves a reference cycle."""
