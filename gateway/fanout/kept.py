"""The events that logs keep in memory, for as long as somebody needs them, and while they read.

After a restart 5,000 tabs of one execution reconnect at once: the first one reads history, and the
others are served from what was read. What is kept of an execution is the end of its history,
without a hole. It is dropped ten seconds after its last use, or earlier if all executions together
keep too much: then the least recently used goes first.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from gateway.events.batch import EventBatch
from gateway.events.envelope import Event
from gateway.events.history_page import CursorStatus, Ending, HistoryPage
from gateway.events.ids import EventId

if TYPE_CHECKING:
    from gateway.fanout.log import Log

KEPT_SECONDS = 10.0
"""How long events are kept after somebody last asked for them."""

_WAITING_BYTES = 4 * 1024 * 1024
"""Of what comes while one history is read."""

_AT_ONCE = 1000
"""Executions let go of in one tick."""

_EVENT_BYTES = 200
"""What Python needs for an event beside its frame, about."""


class Kept:
    """The end of one history: all that follows `begin`, without a hole."""

    __slots__ = ("_former", "_shared", "begin", "events", "first", "size")

    def __init__(
        self,
        begin: EventId | None,
        first: EventId | None,
        events: Iterable[Event] = (),
        former: Sequence[EventId] = (),
    ) -> None:
        """*begin* None: all that history keeps; its *first* entry is known then. *former*: see
        `HistoryPage`."""
        self.begin = begin
        self.first = first
        self._former = former
        self.events: list[Event] = []
        self.size = 0
        self._shared: tuple[EventId | None, HistoryPage] | None = None
        """A page that was given out for a cursor; good until something is appended."""
        self.extend(events)

    def extend(self, events: Iterable[Event]) -> None:
        """Append what follows."""
        self._shared = None
        before = len(self.events)
        self.events += events
        self.size += sum(len(one.frame) + _EVENT_BYTES for one in self.events[before:])

    def after(self, cursor: EventId | None) -> list[Event] | None:
        """What follows *cursor*; None if that is not certain from here."""
        if cursor == self.begin:
            return list(self.events)
        # Reconnecting tabs have seen nearly all of it.
        for index in range(len(self.events) - 1, -1, -1):
            if self.events[index].id == cursor:
                return self.events[index + 1 :]
        return None

    def page(
        self,
        cursor: EventId | None,
        tip: EventId | None,
        ending: Ending | None,
        run: int | None,
    ) -> HistoryPage | None:
        """What follows *cursor* to the *tip*, joined once for all who come with that cursor; None
        if it is not certain from here. *run*: see `HistoryPage`."""
        if self._shared is not None and self._shared[0] == cursor:
            page = self._shared[1]
            if page.end == tip and page.ending == ending:
                return page
        if (rest := self.after(cursor)) is None:
            return None
        status: CursorStatus = "start" if cursor is None else "valid"
        page = HistoryPage(
            status, rest, self.first, ending,
            more=False, last=None, end=tip, run=run, former=self._former,
        )  # fmt: skip
        self._shared = cursor, page
        return page


class Waiting:
    """What comes while history is read: whether it follows is known only after that."""

    __slots__ = ("_bytes", "batches")

    def __init__(self) -> None:
        self.batches: list[tuple[EventBatch, bool]] = []
        """With each one, whether it is known to begin its history."""
        self._bytes = 0

    def add(self, batch: EventBatch, is_first_known: bool) -> bool:
        """Keep *batch*; False where too much waits already, so that it has to be read too."""
        self._bytes += len(batch.data)
        if self._bytes > _WAITING_BYTES:
            return False
        self.batches.append((batch, is_first_known))
        return True


class KeptBound:
    """Bounds what all logs keep together, in bytes and in time; `tick` is to be called every
    `PERIOD`."""

    def __init__(self, most: int) -> None:
        """*most*: bytes."""
        self._most = most
        self._sizes: OrderedDict[Log, tuple[int, float]] = OrderedDict()
        self.bytes = 0
        """Bytes that are kept now."""

    def asked(self, log: "Log", size: int) -> None:
        """Somebody needs what *log* keeps, *size* bytes now."""
        now = asyncio.get_running_loop().time()
        self._set(log, size, now)
        self._sizes.move_to_end(log)
        self._shrink()

    def grew(self, log: "Log", size: int) -> None:
        """*log* keeps *size* bytes now."""
        self._set(log, size, self._sizes[log][1])
        self._shrink()

    def gone(self, log: "Log") -> None:
        """*log* keeps nothing any more."""
        size, _ = self._sizes.pop(log, (0, 0.0))
        self.bytes -= size

    def _set(self, log: "Log", size: int, asked_at: float) -> None:
        self.bytes += size - self._sizes.get(log, (0, 0.0))[0]
        self._sizes[log] = (size, asked_at)

    def _shrink(self) -> None:
        while self.bytes > self._most:
            next(iter(self._sizes)).let_go()

    def tick(self) -> None:
        """Let go of what nobody has asked for; the least recently asked stand first."""
        now = asyncio.get_running_loop().time()
        for _ in range(min(_AT_ONCE, len(self._sizes))):
            log = next(iter(self._sizes))
            if self._sizes[log][1] + KEPT_SECONDS > now:
                return
            log.let_go()
