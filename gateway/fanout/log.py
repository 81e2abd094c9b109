"""The log of one watched execution: where its history stands, and who is at that tip.

The one rule: an event is written if its id follows the tip. Then it is written to all streams at
the tip at once, and the tip moves. Whatever does not follow is looked up in history from the tip
on, once for all of them (`repair`). A stream behind the tip catches up by itself, with pages that
are read here, and goes live when it stands at the tip (`gateway.fanout.subscriber`).
"""

import asyncio
import random
from typing import TYPE_CHECKING

from gateway.errors import ExecutionForgotten, RedisUnavailable
from gateway.events.batch import EventBatch, as_chunk
from gateway.events.envelope import Event
from gateway.events.history_page import Ending, HistoryPage
from gateway.events.ids import EventId
from gateway.fanout.kept import Kept
from gateway.fanout.reads import Reads

if TYPE_CHECKING:
    from gateway.fanout.hub import Hub

PAUSE = (0.1, 0.5)
"""Seconds between two tries to read while Redis is away, drawn each time."""

_WAITING_BYTES = 4 * 1024 * 1024
"""Bytes of events that wait for a repair; of more, what history says of them is read."""


class Log(Reads):
    """One execution's tip, and the reads of its history."""

    __slots__ = ("_dirty", "_question", "_waiting", "_waiting_bytes")

    def __init__(self, execution_id: str, hub: "Hub") -> None:
        super().__init__(execution_id, hub)
        self._dirty = False
        """Something more was found that does not follow, or was left out."""
        self._waiting: list[tuple[EventBatch, bool]] | None = None
        self._waiting_bytes = 0
        self._question: EventId | None = None
        """An id that was taken for the first one, until history has said so."""

    # What the feed brings.

    def publish(self, batch: EventBatch, recorded_here: bool) -> None:
        """Write what of *batch* follows. *recorded_here*: its ids are our own recording's."""
        if batch.first is None:
            self._publish_without_ids(batch)
        elif self.ending is not None:
            # What follows the end is in history, and no stream is given it; but it may have begun
            # again, for those who come back.
            if batch.first.epoch != self.ending.id.epoch:
                self._start_over()
        elif not self.is_known or self._repairing is not None:
            self._wait(batch, recorded_here)
        elif (following := self._following(batch, recorded_here)) is not None:
            self._take(following)

    def _following(self, batch: EventBatch, recorded_here: bool) -> EventBatch | None:
        """What of *batch* follows the tip. Else it is looked up: this is the one place for ids
        that do not continue what is known."""
        tip, first, last = self.tip, batch.first, batch.last
        if batch.before == tip:
            return batch
        if first is None or last is None:
            return None
        if tip is None:
            if self.epochs:
                # There was another history, and who was admitted to that one must be asked again.
                self._start_over()
                self._wait(batch, recorded_here)
                return None
            if first.seq == 1 and self._session == self._hub.session:
                # History was empty, and nothing can have been missed since.
                if not recorded_here:
                    self._question = first
                    self._hub.spawn(self._ask_whether_first(first))
                return batch
        elif tip.is_at_or_after(last):
            return None
        elif tip.is_at_or_after(first):
            return batch.after(tip)
        self.repair()
        return None

    def _take(self, batch: EventBatch) -> None:
        before, self.tip = self.tip, batch.last
        self._keep(batch.events)
        self._write(batch.data, batch.chunk, len(batch), before)
        if batch.terminal and batch.last is not None:
            self._end(Ending(batch.last, batch.events[-1].type, True, batch.terminal))

    def _wait(self, batch: EventBatch, recorded_here: bool) -> None:
        """Until history was read, nobody can say whether *batch* follows."""
        self._waiting_bytes += len(batch.data)
        if self._waiting is None:
            self._waiting = []
        if self._waiting_bytes <= _WAITING_BYTES:
            self._waiting.append((batch, recorded_here))
        else:
            self._dirty = True

    def _go_on(self) -> None:
        """Publish what waited for a read."""
        waiting, self._waiting, self._waiting_bytes = self._waiting or (), None, 0
        for batch, recorded_here in waiting:
            if not self.is_known:
                self._wait(batch, recorded_here)
            elif self.ending is None:
                following = self._following(batch, recorded_here)
                if following is not None:
                    self._take(following)

    # What history says.

    def _learn(
        self, cursor: EventId | None, page: HistoryPage, before: EventId | None, session: int
    ) -> None:
        """What *page*, read after *cursor* when the tip was *before*, says about the tip."""
        if page.is_over_for(cursor) and page.ending is not None and cursor != page.ending.id:
            # Beyond the end: it shows nothing that a stream is given.
            return
        at_tip = self.is_known and cursor == self.tip
        if page.more and not at_tip:
            return
        if not self.is_known:
            self._begin(cursor, page, session)
        elif self._is_other_history(page, before):
            self._start_over()
            if not page.more:
                self._begin(cursor, page, session)
        else:
            self._advance(cursor, page, session, at_tip)

    def _begin(self, cursor: EventId | None, page: HistoryPage, session: int) -> None:
        """The tip is known from now on."""
        self.tip, self.is_known, self._session = page.end, True, session
        if page.is_last or page.is_over_for(cursor):
            self.ending = page.ending
        begin = cursor if page.cursor_status == "valid" else None
        self._set_kept(Kept(begin, page.first_kept, page.events))
        if self._dirty and self._repairing is None:
            self.repair()
        if self._repairing is None:
            self._go_on()

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
        position, live = self.tip, self._live()
        self.epochs += 1
        self.tip, self.is_known, self.ending = None, False, None
        self._question = None
        self.let_go()
        for subscriber in live:
            subscriber.fall_behind(position, told_to_start_over=notice)

    def _advance(
        self, cursor: EventId | None, page: HistoryPage, session: int, at_tip: bool
    ) -> None:
        """Write what of *page* is beyond the tip to all who are at it."""
        tip, end = self.tip, page.end
        rest = [
            event
            for event in page.events
            if event.id is not None and (tip is None or not _is_seen(tip, event.id))
        ]
        follows = at_tip or not rest or rest[0].id == (tip.next() if tip is not None else None)
        if tip is None and page.cursor_status != "valid":
            follows = True
        if not follows:
            self.repair()
            return
        kept = self._kept.after(end) if self._kept is not None else None
        notices = page.notices(tip) if at_tip else b""
        if rest or notices:
            self._take_page(rest, notices, end)
        if page.more:
            return
        self._session = max(self._session, session)
        if kept is not None or rest:
            begin = cursor if page.cursor_status == "valid" else None
            self._set_kept(Kept(begin, page.first_kept, [*page.events, *(kept or ())]))
        if page.is_last and page.ending is not None:
            self._end(page.ending)

    def _take_page(self, events: list[Event], notices: bytes, end: EventId | None) -> None:
        """As `_take`, of what was read."""
        before, live = self.tip, len(self._plain) + len(self._chunked) + len(self._blocked)
        self.tip = end
        self._keep(events)
        if notices:
            self._hub.metrics.gaps += live
        data = b"".join([notices, *(event.frame for event in events)])
        self._write(data, as_chunk(data), len(events), before)

    # Repairs.

    def repair(self) -> None:
        """Read on from the tip, and write the result to all who are at it."""
        self._dirty = True
        if self._repairing is None and self.is_known and self.ending is None:
            self._repairing = self._hub.spawn(self._repair())

    async def _repair(self) -> None:
        try:
            while self._dirty and self.is_known and self.subscribers:
                self._dirty = False
                try:
                    page = await self._read(self.tip)
                except ExecutionForgotten:
                    self._start_over()
                    return
                except RedisUnavailable:
                    self._dirty = True
                    await asyncio.sleep(random.uniform(*PAUSE))  # noqa: S311 - spreads load
                    continue
                self._dirty = self._dirty or (page.more and self.is_known)
                if not page.more:
                    self._go_on()
        finally:
            self._repairing = None
        if self.is_known:
            self._go_on()

    def audit(self, last: EventId | None, session: int) -> None:
        """Compare the tip with the *last* id of history, asked for in *session*."""
        if not self.is_known or self.ending is not None:
            return
        tip = self.tip
        if tip == last or (tip is not None and last is not None and tip.is_at_or_after(last)):
            self._session = max(self._session, session)
        else:
            self.repair()

    def look_again(self) -> None:
        """Each stream reads history on its own, and ends if that is forgotten."""
        self._start_over()

    def doubt(self) -> None:
        """There is a new subscription: between it and the last one anything may have come."""
        self.let_go()
        if self._question is not None:
            self._start_over(notice=True)

    async def _ask_whether_first(self, first: EventId) -> None:
        """A payload said that *first* begins this history. If it does not, streams start over."""
        try:
            is_first = await self._hub.pages.first(self.execution_id) == first
        except RedisUnavailable:
            is_first = False
        if self._question == first:
            self._question = None
            if not is_first:
                self._start_over(notice=True)


def _is_seen(tip: EventId, event_id: EventId) -> bool:
    return event_id.epoch != tip.epoch or event_id.seq <= tip.seq
