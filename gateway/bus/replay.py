"""Shares what was read of a history among all streams that need it.

A restart brings 5,000 tabs of one execution back at once, and each needs what it missed. One of
them reads; the others join that read, or are served from what it left here.

A read may be shared only if nothing can be missing from it that its reader will not get live. So
what is kept is the *tail* of a history, kept contiguous by what the feed delivers, and thrown away
at the first doubt: a one-second cache left a hole for nearly every tab (DELIVERY.md, rule 6).
"""

import asyncio
from dataclasses import dataclass, field, replace

from gateway.bus.history import History, Page, envelope_of
from gateway.events.batch import EventBatch
from gateway.events.envelope import Event, recorded
from gateway.events.history_page import CursorStatus, Ending, HistoryPage
from gateway.events.ids import EventId
from gateway.events.json_edit import without_member
from gateway.metrics import Metrics

TAIL_SECONDS = 10.0
"""How long a tail is kept after it was last asked for."""

TAIL_BYTES = 1024 * 1024
"""A tail that grows beyond this is thrown away."""


@dataclass(slots=True)
class Tail:
    """The contiguous end of a history: all that follows `begin`."""

    begin: EventId | None
    """None: all that is kept."""
    first_kept: EventId | None
    events: list[Event]
    ending: Ending | None
    size: int
    asked_at: float

    def after(self, cursor: EventId | None) -> HistoryPage | None:
        """What follows *cursor*, if that is certain from here."""
        if cursor == self.begin:
            rest = list(self.events)
        elif cursor is not None and (index := self._index(cursor)) is not None:
            rest = self.events[index + 1 :]
        else:
            return None
        cursor_status: CursorStatus = "start" if cursor is None else "valid"
        return HistoryPage(cursor_status, rest, self.first_kept, self.ending, more=False, last=None)

    def _index(self, cursor: EventId) -> int | None:
        # Reconnecting tabs have seen nearly all of it.
        for index in range(len(self.events) - 1, -1, -1):
            if self.events[index].id == cursor:
                return index
        return None

    def extend(self, burst: EventBatch) -> bool:
        """Append what the feed delivers; False if this is no longer the end of the history."""
        if self.ending is not None or burst.first is None or burst.last is None:
            # What follows the end is in history, and no stream is given it.
            return True
        last = self.events[-1].id if self.events else self.begin
        if last is None:
            return False
        if last.is_at_or_after(burst.last):
            return True
        following = burst if burst.first == last.next() else None
        if following is None and last.is_at_or_after(burst.first):
            following = burst.after(last)
        if following is None:
            return False
        self.events += following.events
        self.size += len(following.data)
        if following.terminal and following.last is not None:
            self.ending = Ending(following.last, following.events[-1].type, kept=True)
        return self.size <= TAIL_BYTES


@dataclass(slots=True)
class Flight:
    """A read under way, and what the feed delivers meanwhile."""

    task: "asyncio.Task[tuple[HistoryPage, bool]]"
    early: list[EventBatch] = field(default_factory=list)


class Replay:
    """The tails and the reads under way of all executions."""

    def __init__(self, history: History, metrics: Metrics) -> None:
        self._history = history
        self._metrics = metrics
        self._tails: dict[str, Tail] = {}
        self._flights: dict[str, dict[EventId | None, Flight]] = {}
        self._doubts = 0

    async def after(self, execution_id: str, cursor: EventId | None) -> HistoryPage:
        """What follows *cursor*, for a subscriber that collects what the feed brings from now on.

        Raises:
            RedisUnavailable: Redis could not be asked.
        """
        while True:
            if (known := self.known(execution_id, cursor)) is not None:
                return known
            flights = self._flights.setdefault(execution_id, {})
            joined = cursor in flights
            if not joined:
                flights[cursor] = Flight(self._begin(execution_id, cursor))
            # Shielded: the reader that began it may leave, and the others still wait for it.
            stretch, may_be_shared = await asyncio.shield(flights[cursor].task)
            if stretch.cursor_status == "reset" and cursor is not None:
                # No invented cursor has a read of its own: they all share that of the start.
                return started_over(await self.after(execution_id, None), cursor)
            if may_be_shared or not joined:
                return stretch

    def known(self, execution_id: str, cursor: EventId | None) -> HistoryPage | None:
        """What follows *cursor*, if that is certain without a read."""
        tail = self._tails.get(execution_id)
        if tail is None:
            return None
        tail.asked_at = asyncio.get_running_loop().time()
        return tail.after(cursor)

    def _begin(
        self, execution_id: str, cursor: EventId | None
    ) -> "asyncio.Task[tuple[HistoryPage, bool]]":
        task = asyncio.create_task(self._read(execution_id, cursor))
        # When all who waited have left, nobody else looks at its error.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    def wants(self, execution_id: str) -> bool:
        """Whether `extend` must be told what the feed delivers for this execution."""
        return execution_id in self._tails or execution_id in self._flights

    def extend(self, execution_id: str, burst: EventBatch) -> None:
        """The feed delivers *burst*: tails grow by it, and reads under way learn of it."""
        for flight in self._flights.get(execution_id, {}).values():
            flight.early.append(burst)
        tail = self._tails.get(execution_id)
        if tail is not None and not tail.extend(burst):
            self.forget(execution_id)

    def forget(self, execution_id: str) -> None:
        """Something of this history may have been missed."""
        self._tails.pop(execution_id, None)

    def forget_all(self) -> None:
        """Something of any history may have been missed, also by the reads under way."""
        self._tails.clear()
        self._doubts += 1

    async def stop(self) -> None:
        """Give up the reads under way."""
        tasks = [flight.task for flights in self._flights.values() for flight in flights.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, execution_id: str, cursor: EventId | None) -> tuple[HistoryPage, bool]:
        doubts = self._doubts
        try:
            page = await self._history.page(execution_id, cursor, only_valid=True)
        finally:
            flights = self._flights[execution_id]
            flight = flights.pop(cursor)
            if not flights:
                del self._flights[execution_id]
        stretch = history_page_of(execution_id, page, self._metrics)
        if stretch.cursor_status == "reset":
            return stretch, True
        self._metrics.history_reads += 1
        if stretch.more:
            # A page that is not the last one never changes any more.
            return stretch, True
        if doubts != self._doubts:
            return stretch, False
        self._keep(execution_id, cursor, stretch, flight)
        # Those who joined did so after the read began: what came meanwhile must be in it.
        return stretch, not flight.early

    def _keep(
        self, execution_id: str, cursor: EventId | None, stretch: HistoryPage, flight: Flight
    ) -> None:
        """Make *stretch* the tail, with what came meanwhile, unless something is missing."""
        loop = asyncio.get_running_loop()
        tail = Tail(
            begin=cursor if stretch.cursor_status == "valid" else None,
            first_kept=stretch.first_kept,
            events=list(stretch.events),
            ending=stretch.ending,
            size=sum(len(event.frame) for event in stretch.events),
            asked_at=loop.time(),
        )
        if tail.size <= TAIL_BYTES and all(tail.extend(burst) for burst in flight.early):
            self._tails[execution_id] = tail
            loop.call_later(TAIL_SECONDS, self._expire, execution_id, tail)

    def _expire(self, execution_id: str, tail: Tail) -> None:
        if self._tails.get(execution_id) is not tail:
            return
        loop = asyncio.get_running_loop()
        left = tail.asked_at + TAIL_SECONDS - loop.time()
        if left > 0:
            loop.call_later(left, self._expire, execution_id, tail)
        else:
            del self._tails[execution_id]


def started_over(start: HistoryPage, cursor: EventId) -> HistoryPage:
    """*start* for a reader whose *cursor* history does not honour."""
    first = start.first_kept
    is_gap = first is not None and first.epoch == cursor.epoch and cursor.seq < first.seq
    return replace(start, cursor_status="gap" if is_gap else "reset")


def history_page_of(execution_id: str, page: Page, metrics: Metrics) -> HistoryPage:
    """A page as events. What somebody else wrote into the stream and is no event is left out."""
    ending = None
    if page.terminal is not None:
        ending = Ending(page.terminal, page.terminal_type, page.terminal_kept)
        if not ending.kept:
            # All that is kept came after the end, and is given to no stream.
            return HistoryPage(
                page.cursor_status, [], page.first, ending, more=False, last=page.last
            )
    events = []
    for entry in page.entries:
        if (envelope := envelope_of(execution_id, entry, metrics)) is None:
            continue
        body = envelope.body
        if envelope.id is not None:
            # Of a producer that called the script with an id in its payload.
            body = without_member(body, "id")
        events.append(recorded(envelope.type, body, entry.id))
    return HistoryPage(page.cursor_status, events, page.first, ending, page.more, page.last)
