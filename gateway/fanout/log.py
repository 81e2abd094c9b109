"""The log of one watched execution: where its history stands, and who is at that tip.

The one rule: an event is written if its id follows the tip. Then it is written to all live streams
at once, and the tip moves. Whatever does not follow is looked up in history from the tip on, once
for all of them (`repair`). A stream behind the tip catches up by itself, with pages that are read
here, each once for all who ask, and goes live when it stands at the tip
(`gateway.fanout.subscriber`).
"""

import asyncio
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gateway.errors import RedisUnavailable
from gateway.events.batch import EventBatch, as_chunk
from gateway.events.envelope import Event
from gateway.events.history_page import CursorStatus, Ending, HistoryPage
from gateway.events.ids import EventId
from gateway.fanout.kept import Kept
from gateway.fanout.live import LiveStreams

if TYPE_CHECKING:
    from gateway.fanout.hub import Hub
    from gateway.fanout.subscriber import Subscriber

PAUSE = (0.1, 0.5)
"""Seconds between two tries to read while Redis is away, drawn each time."""

_WAITING_BYTES = 4 * 1024 * 1024
"""Bytes of events that wait for a repair; of more, what history says of them is read."""

_Question = tuple[EventId | None, bool]
"""A cursor, and whether only a valid one is read for."""


class Log:
    """One execution's tip, and the reads of its history."""

    __slots__ = (
        "_first", "_hub", "_kept", "_read_again", "_reads", "_repairing", "_session", "_waiting",
        "_waiting_bytes", "ending", "epochs", "execution_id", "is_known", "live", "subscribers",
        "tip",
    )  # fmt: skip

    def __init__(self, execution_id: str, hub: "Hub") -> None:
        self.execution_id = execution_id
        self._hub = hub
        self.subscribers: dict[Subscriber, None] = {}
        """All streams of this execution, whatever their state."""
        self.live = LiveStreams()
        """Those of them that stand at the tip."""
        self.tip: EventId | None = None
        """The last event that was written to them; None before the first one."""
        self.is_known = False
        """Whether `tip` is known: history was read to its end."""
        self.ending: Ending | None = None
        self.epochs = 0
        """How often the history turned out to be another one."""
        self._session = -1
        """The subscription session in which the tip was last found to be the end of history."""
        self._first: EventId | None = None
        """An id that was taken for the first one, until history has said so."""
        self._waiting: list[tuple[EventBatch, bool]] = []
        self._waiting_bytes = 0
        self._kept: Kept | None = None
        self._reads: dict[_Question, asyncio.Task[HistoryPage]] = {}
        self._repairing: asyncio.Task[None] | None = None
        self._read_again = False
        """Something more was found that does not follow, or was left out."""

    # What the feed brings.

    def publish(self, batch: EventBatch, recorded_here: bool) -> None:
        """Write what of *batch* follows. *recorded_here*: its ids are our own recording's."""
        if batch.first is None:
            self._publish_without_ids(batch)
        elif self.ending is not None:
            # What follows the end is in history, and no stream is given it.
            return
        elif not self.is_known or self._repairing is not None:
            self._wait(batch, recorded_here)
        elif (following := self._following(batch, recorded_here)) is not None:
            self._write(following.events, following.data, following.chunk, following.last)
            if following.terminal and following.last is not None:
                self._end(Ending(following.last, following.events[-1].type, kept=True))

    def _following(self, batch: EventBatch, recorded_here: bool) -> EventBatch | None:
        """What of *batch* follows the tip. Else it is looked up: this is the one place for ids
        that do not continue what is known."""
        tip, first = self.tip, batch.first
        if batch.before == tip:
            return batch
        if first is None:
            return None
        if tip is None:
            if self.epochs:
                # There was another history, and who was admitted to that one must be asked again.
                self._start_over()
                return None
            if first.seq == 1 and self._session == self._hub.session:
                # History was empty, and nothing can have been missed since.
                if not recorded_here:
                    self._first = first
                    self._hub.spawn(self._ask_whether_first(first))
                return batch
        elif tip.is_at_or_after(first):
            return batch.after(tip)
        self.repair()
        return None

    def _write(
        self, events: Sequence[Event], data: bytes, chunk: bytes, tip: EventId | None
    ) -> None:
        """Write *events*, after which all who are live stand at *tip*."""
        before, self.tip = self.tip, tip
        if self._kept is not None:
            self._kept.extend(events)
            self._hub.kept.grew(self, self._kept.size)
        delivered = self.live.write(data, chunk, len(events), before)
        self._hub.metrics.events_delivered += len(events) * delivered

    def _publish_without_ids(self, batch: EventBatch) -> None:
        """These are in no history: a stream that catches up keeps those that come meanwhile."""
        delivered = self.live.write(batch.data, batch.chunk, len(batch), self.tip)
        self._hub.metrics.events_delivered += len(batch) * delivered
        for subscriber in list(self.subscribers):
            if subscriber not in self.live:
                subscriber.keep(batch)
            elif batch.terminal:
                subscriber.complete()

    def _end(self, ending: Ending) -> None:
        self.ending = ending
        for subscriber in self.live:
            subscriber.complete()

    def _wait(self, batch: EventBatch, recorded_here: bool) -> None:
        """Until history was read, nobody can say whether *batch* follows."""
        self._waiting_bytes += len(batch.data)
        if self._waiting_bytes <= _WAITING_BYTES:
            self._waiting.append((batch, recorded_here))
        else:
            self._read_again = True

    def _publish_waiting(self) -> None:
        """History was read: go on with what came meanwhile."""
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        for batch, recorded_here in waiting:
            self.publish(batch, recorded_here)
        if self._read_again:
            self.repair()

    # Reads.

    def is_tip(self, position: EventId | None) -> bool:
        """Whether a stream at *position* lacks nothing."""
        return self.is_known and self.tip == position

    def known(self, cursor: EventId | None) -> HistoryPage | None:
        """What follows *cursor* to the tip, if that is certain without a read."""
        if not self.is_known or self._repairing or self._session != self._hub.session:
            return None
        rest = first = None
        if self._kept is not None:
            rest, first = self._kept.after(cursor), self._kept.first
            self._hub.kept.asked(self, self._kept.size)
        if rest is None and (cursor is None or cursor != self.tip):
            return None
        status: CursorStatus = "start" if cursor is None else "valid"
        return HistoryPage(
            status, rest or [], first, self.ending, more=False, last=None, end=self.tip
        )

    async def page(self, cursor: EventId | None) -> HistoryPage:
        """What follows *cursor*, as far as one page goes; read once for all who ask together.

        Raises:
            RedisUnavailable: Redis could not be asked.
        """
        if (known := self.known(cursor)) is not None:
            return known
        # Shared, since nobody relies on it alone: a stream is live only when it stands at the tip.
        read = await asyncio.shield(self._read(cursor, only_valid=cursor is not None))
        if read.cursor_status == "reset" and cursor is not None:
            # No invented cursor has a read of its own: all of them share that of the start.
            return (await self.page(None)).started_over(cursor)
        if not read.more and read.cursor_status in ("start", "valid"):
            # With what has come since it was read.
            return self.known(cursor) or read
        return read

    def _read(
        self, cursor: EventId | None, *, only_valid: bool = False
    ) -> "asyncio.Task[HistoryPage]":
        question = (cursor, only_valid)
        task = self._reads.get(question)
        if task is None:
            if self.is_known and self._kept is None:
                # What comes while it is read must be at hand when it was.
                self._keep(Kept(self.tip, None))
            task = self._reads[question] = self._hub.spawn(self._read_page(question))
            # When all who waited have left, nobody else looks at its error.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    async def _read_page(self, question: _Question) -> HistoryPage:
        cursor, only_valid = question
        session, epochs = self._hub.session, self.epochs
        before = self.tip if self.is_known else None
        try:
            try:
                page = await self._hub.pages.page(self.execution_id, cursor, only_valid=only_valid)
            finally:
                del self._reads[question]
            says_nothing = only_valid and page.cursor_status == "reset"
            if epochs == self.epochs and not says_nothing:
                self._learn(cursor, page, before, session)
            return page
        finally:
            self._hub.forget_if_idle(self)

    def _keep(self, kept: Kept) -> None:
        self._kept = kept
        self._hub.kept.asked(self, kept.size)

    def let_go(self) -> None:
        """Keep no events any more; who needs them reads history."""
        self._kept = None
        self._hub.kept.gone(self)
        self._hub.forget_if_idle(self)

    @property
    def is_idle(self) -> bool:
        """Nobody watches, nothing is kept, and nothing is under way."""
        return not (self.subscribers or self._kept or self._reads or self._repairing)

    # What history says.

    def _learn(
        self, cursor: EventId | None, page: HistoryPage, before: EventId | None, session: int
    ) -> None:
        """What *page*, read after *cursor* when the tip was *before*, says about the tip."""
        if page.is_over_for(cursor) and page.ending is not None and cursor != page.ending.id:
            # Beyond the end: it shows nothing that a stream is given.
            return
        if page.more and not self.is_tip(cursor):
            return
        if self.is_known and self._is_other_history(page, before):
            self._start_over()
            if page.more:
                return
        if self.is_known:
            self._advance(cursor, page, session)
        else:
            self._begin(cursor, page, session)

    def _begin(self, cursor: EventId | None, page: HistoryPage, session: int) -> None:
        """The tip is known from now on."""
        self.tip, self.is_known, self._session = page.end, True, session
        if page.is_last or page.is_over_for(cursor):
            self.ending = page.ending
        self._keep(_kept_of(cursor, page))
        if self._repairing is None:
            self._publish_waiting()

    def _is_other_history(self, page: HistoryPage, before: EventId | None) -> bool:
        """Whether *page* is of another history than the tip: flushed, begun again, or with less
        than was known when it was read."""
        if self.tip is None:
            return False
        if page.end is None or page.end.epoch != self.tip.epoch:
            return page.end is not None or before is not None
        return not page.more and before is not None and not page.end.is_at_or_after(before)

    def _start_over(self, notice: bool = False) -> None:
        """It is another history: each stream catches up on its own, since its viewer must be
        admitted to that. With *notice* it gets `stream:reset` first."""
        position, live = self.tip, list(self.live)
        self.epochs += 1
        self.tip, self.is_known, self.ending, self._first = None, False, None, None
        self.let_go()
        for subscriber in live:
            subscriber.fall_behind(position, told_to_start_over=notice)

    def _advance(self, cursor: EventId | None, page: HistoryPage, session: int) -> None:
        """Write what of *page* is beyond the tip to all who are at it."""
        tip, rest, notices = self.tip, page.events, b""
        if cursor == tip:
            notices = page.notices(tip)
        else:
            rest = _beyond(tip, rest)
            if rest and (tip is None or rest[0].id != tip.next()):
                self.repair()
                return
        if rest or notices:
            self._hub.metrics.gaps += len(self.live) if notices else 0
            data = b"".join([notices, *(one.frame for one in rest)])
            self._write(rest, data, as_chunk(data), page.end)
        if page.more:
            return
        self._session = max(self._session, session)
        newer = self._kept.after(page.end) if self._kept is not None else None
        if page.end == self.tip or newer is not None:
            self._keep(_kept_of(cursor, page, newer or ()))
        if page.is_last and page.ending is not None:
            self._end(page.ending)

    # Repairs.

    def repair(self) -> None:
        """Read on from the tip, and write the result to all who are at it."""
        self._read_again = True
        if self._repairing is None and self.is_known and self.ending is None:
            self._repairing = self._hub.spawn(self._repair())

    async def _repair(self) -> None:
        try:
            while self._read_again and self.is_known and self.subscribers:
                self._read_again = False
                try:
                    page = await self._read(self.tip)
                    self._read_again = self._read_again or page.more
                except RedisUnavailable:
                    self._read_again = True
                    await asyncio.sleep(random.uniform(*PAUSE))  # noqa: S311 - spreads load
        finally:
            self._repairing = None
        if not self.subscribers:
            # Who comes next reads what was not found.
            self.tip, self.is_known = None, False
            self.let_go()
        elif self.is_known:
            self._publish_waiting()

    def audit(self, last: EventId | None, session: int) -> None:
        """Compare the tip with the *last* id of history, asked for in *session*."""
        if not self.is_known or self.ending is not None:
            return
        tip = self.tip
        if tip == last or (tip is not None and last is not None and tip.is_at_or_after(last)):
            self._session = max(self._session, session)
        else:
            self.repair()

    def doubt(self) -> None:
        """There is a new subscription: between it and the last one anything may have come."""
        self.let_go()
        if self._first is not None:
            self._start_over(notice=True)

    async def _ask_whether_first(self, first: EventId) -> None:
        """A payload said that *first* begins this history. If it does not, streams start over."""
        try:
            is_first = await self._hub.pages.first(self.execution_id) == first
        except RedisUnavailable:
            is_first = False
        if self._first == first:
            self._first = None
            if not is_first:
                self._start_over(notice=True)


def _beyond(tip: EventId | None, events: Sequence[Event]) -> Sequence[Event]:
    """Those of *events*, which end in the tip's epoch, that come after it."""
    if tip is None:
        return events
    return [one for one in events if one.id and one.id.epoch == tip.epoch and one.id.seq > tip.seq]


def _kept_of(cursor: EventId | None, page: HistoryPage, newer: Sequence[Event] = ()) -> Kept:
    """What *page*, read after *cursor*, and what is *newer* leave for others."""
    begin = cursor if page.cursor_status == "valid" else None
    return Kept(begin, page.first_kept, [*page.events, *newer])
