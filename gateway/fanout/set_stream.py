"""A stream of several executions: each is a part, an ordinary subscriber, and all share one socket.

Each frame of a part gets its execution's id, and each event the cursor of all. If the reader is
blocked, all parts are blocked: new events wait in their queues, which together have the limits of
one stream's queue, or the parts catch up later. They take turns to read history, as many at a time
as the set counts as streams; one that gets no answer gives up its turn. A page is reframed piece by
piece as the reader takes it. So a set holds at most one queue and that many pages.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

from gateway.errors import RedisUnavailable
from gateway.events.ids import EventId
from gateway.events.set_cursor import SetCursor, entry, join
from gateway.events.sse_encoder import absent
from gateway.fanout.hub import Hub
from gateway.fanout.internal import LocalTransport
from gateway.fanout.set_admission import LateAdmission
from gateway.fanout.set_part import FRAME, Part
from gateway.fanout.state import COMPLETED, Permit, Snapshot, State
from gateway.fanout.stream import Stream
from gateway.principal import Principal

_SLICE_BYTES = 64 * 1024
"""Bytes that are reframed at once: the cursor of fifty is longer than many an event."""


class SetStream(Stream):
    """One open stream of several executions."""

    __slots__ = (
        "_entries", "_late", "_paused", "_pending", "_reframed", "parts", "takes_more", "turns",
        "weight",
    )  # fmt: skip

    def __init__(self, principal: Principal, hub: Hub, permit: Permit, weight: int) -> None:
        """*weight*: as how many streams it counts. It must be given to `Hub.add_composite`."""
        super().__init__(principal, hub, permit)
        self.parts: list[Part] = []
        self.weight = weight
        self._entries: dict[Part, bytes] = {}
        """The cursor in pieces: the positions that its reader has come to."""
        self._paused: dict[Part, None] = {}
        """Parts that are to go on when the reader takes more, the one that has waited for longest
        first."""
        self._pending: deque[tuple[Part, bytes]] = deque()
        """What parts have written."""
        self._reframed = 0
        """Bytes of the first of it that are written."""
        self.turns = asyncio.Semaphore(weight)
        """Of its parts, to read history."""
        self.takes_more = asyncio.Event()
        """Its reader does."""
        self._late: LateAdmission | None = None

    @property
    def execution_ids(self) -> Sequence[str]:
        """Of its parts, also of those that have ended."""
        return [part.execution_id for part in self.parts]

    def silent_since(self, moment: float) -> Sequence[str]:
        """See `Stream.silent_since`; while one shows events, another one may have missed some."""
        return [
            part.execution_id
            for part in self.parts
            if part.state is State.LIVE and part.written_at <= moment
        ]

    def close_if(self, is_revoked: Callable[[Principal], bool]) -> None:
        """End what its principal may not see any more: the whole stream, or some parts."""
        super().close_if(is_revoked)
        for part in self.parts:
            part.close_if(is_revoked)

    def snapshot(self, now: float) -> Snapshot:
        """The stream at *now* (loop time); what waits, waits for the whole of it."""
        shown = super().snapshot(now)
        waiting = [part.waiting for part in self.parts]
        state = shown.state
        if state is State.LIVE and any(part.state is State.CATCHING_UP for part in self.parts):
            state = State.CATCHING_UP
        return replace(
            shown,
            state=state,
            queue_events=shown.queue_events + sum(events for events, _ in waiting),
            queue_bytes=shown.queue_bytes
            + sum(size for _, size in waiting)
            + sum(len(data) for _, data in self._pending),
        )

    # For the handler of its request.

    def follow(self, principals: Iterable[Principal], cursor: SetCursor | None) -> None:
        """Miss nothing of these executions from now on; nothing is shown before `attach`."""
        principals = list(principals)
        names = [one.execution_id for one in principals]
        positions = cursor.positions(names) if cursor is not None else {}
        for one in principals:
            position = positions.get(one.execution_id)
            part = Part(self, one, position, self.hub.log_of(one.execution_id))
            self.parts.append(part)
            if position is not None:
                self._entries[part] = entry(part.digest, position)

    def keep(self, admitted: Iterable[Principal], late: Iterable[Principal] = ()) -> None:
        """Let go of all parts but those that were *admitted*. Those in *late* are shown once they
        are admitted too, or left out."""
        later = {one.execution_id for one in late}
        if later:
            late_parts = [one for one in self.parts if one.execution_id in later]
            self._late = LateAdmission(self, late_parts)
        names = {one.execution_id for one in admitted} | later
        for part in self.parts:
            if part.execution_id not in names:
                self._entries.pop(part, None)
                part.leave()
        self.parts = [part for part in self.parts if part.execution_id in names]

    @property
    def cursor(self) -> SetCursor | None:
        """Where its reader stands."""
        return SetCursor.parse(join(self._entries.values()).decode())

    async def is_over(self) -> bool:
        """Whether its reader has seen the end of all.

        Raises:
            RedisUnavailable: Redis could not be asked, and those that could are over.
        """
        if self._late is not None or any(part.position is None for part in self.parts):
            return False
        lost: RedisUnavailable | None = None
        for part in self.parts:
            try:
                if not await part.is_over():
                    return False
            except RedisUnavailable as error:
                # Others may be at another node.
                lost = error
        if lost is not None:
            raise lost
        return True

    def attach(self, transport: asyncio.Transport, written: int, *, chunked: bool) -> None:
        """Take over *transport*, to which *written* bytes of the body went already."""
        if self.state is State.OPENING:
            self.state = State.LIVE
        self.takes_more.set()
        self.connect(transport, written, chunked=chunked)
        late = self._late.parts if self._late is not None else ()
        for part in self.parts.copy():
            if part not in late:
                self._attach(part)
        if self._late is not None and not self.is_ending:
            self._late.begin()
        self.pump()

    def _attach(self, part: Part) -> None:
        if self.is_ending:
            return
        local = LocalTransport(partial(self.take, part), partial(self.part_ended, part))
        if self.blocked_since is not None:
            self._paused[part] = None
            local.pause()
        part.attach(local, None, b"", 0, chunked=False)

    # For those of its parts that are admitted later.

    def begin(self, part: Part) -> None:
        """*part* was admitted: show it."""
        self._attach(part)
        self.pump()

    def leave_out(self, part: Part) -> None:
        """*part* may not be seen."""
        self._entries.pop(part, None)
        self.parts.remove(part)
        part.leave()
        self.notify(absent(part.execution_id))
        self._end_with_all(COMPLETED)

    # For its parts.

    def take(self, part: Part, data: bytes) -> None:
        """*part* has written whole frames."""
        if not self.is_ending:
            self._pending.append((part, data))
            while self.is_writable and self.write_queue():
                pass

    def part_ended(self, part: Part, whole: bool) -> None:
        """*part* is over, after its last word if it is *whole*, else by a fault of its own."""
        if self.is_ending:
            return
        self._paused.pop(part, None)
        if not whole:
            # The reader comes back with its cursor, as to any stream that was cut off.
            self.abort()
        else:
            self._end_with_all(part.reason)

    def _end_with_all(self, reason: str | None) -> None:
        """End if all parts have, the last one for this *reason*."""
        if not self.is_ending and all(one.is_ending for one in self.parts):
            reasons = {one.reason for one in self.parts}
            self.state = State.CLOSING
            self.reason = COMPLETED if reasons == {COMPLETED} else reason
            self.pump()

    # What is written.

    def step(self) -> bool:
        """See `Stream.step`: let the part go on that has waited for longest."""
        if not self._paused:
            return False
        part = next(iter(self._paused))
        del self._paused[part]
        # It may write, and block the reader, and then it is the last one to go on.
        if isinstance(part.transport, LocalTransport):
            part.transport.resume()
        return True

    def write_queue(self) -> bool:
        """See `Connection.write_queue`: then a slice of what parts have written."""
        if super().write_queue():
            return True
        if not self._pending:
            return False
        part, data = self._pending[0]
        out: list[bytes] = []
        size = events = 0
        cursor = partial(self._move, part)
        while size < _SLICE_BYTES and self._reframed < len(data):
            found = FRAME.match(data, self._reframed)
            if found is None:
                # A fault of ours: nothing may be left out.
                raise ValueError(f"A stream of {part.execution_id} has written what is no frame.")
            self._reframed = found.end()
            events += not found[3].startswith(b"stream:")
            out.append(part.reframed(found, cursor))
            size += len(out[-1])
        if self._reframed == len(data):
            self._pending.popleft()
            self._reframed = 0
        self.write(b"".join(out), events)
        return True

    def _move(self, part: Part, position: EventId) -> bytes:
        """The cursor from now on."""
        self._entries[part] = entry(part.digest, position)
        return join(self._entries.values())

    def pause_writing(self) -> None:
        """Its reader takes nothing at the moment; this may be called inside a write."""
        super().pause_writing()
        self.takes_more.clear()
        for part in self.parts:
            if isinstance(part.transport, LocalTransport) and part not in self._paused:
                self._paused[part] = None
                part.transport.pause()

    def resume_writing(self) -> None:
        """Its reader has taken everything."""
        self.takes_more.set()
        super().resume_writing()

    def release(self) -> None:
        """What waits in its parts is not shown: its reader comes back for it."""
        self._pending.clear()
        self._reframed = 0
        self._paused.clear()
        if self._late is not None:
            self._late.stop()
        for part in self.parts:
            part.leave()

    def leave(self, written: int = 0) -> None:
        """See `Stream.leave`."""
        super().leave(written)
        # They refer to it: without this only the garbage collector would find all of it.
        self.parts = []
        self._entries = {}
        self._late = None
