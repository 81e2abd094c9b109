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

from gateway.errors import ExecutionForgotten, RedisUnavailable
from gateway.events.batch import EventBatch, as_chunk
from gateway.events.envelope import Event
from gateway.events.history_page import Ending, HistoryPage
from gateway.events.ids import EventId
from gateway.fanout.kept import kept_of
from gateway.fanout.reads import KnownHistory

if TYPE_CHECKING:
    from gateway.fanout.hub import Hub

PAUSE = (0.1, 0.5)
"""Seconds between two tries to read while Redis is away, drawn each time."""

_WAITING_BYTES = 4 * 1024 * 1024
"""Bytes of events that wait for a repair; of more, what history says of them is read."""


class Log(KnownHistory):
    """Writes what follows the tip, and finds out about what does not."""

    __slots__ = ("_first", "_read_again", "_waiting", "_waiting_bytes")

    def __init__(self, execution_id: str, hub: "Hub") -> None:
        super().__init__(execution_id, hub)
        self._first: EventId | None = None
        """An id that was taken for the first one, until history has said so."""
        self._waiting: list[tuple[EventBatch, bool]] = []
        self._waiting_bytes = 0
        self._read_again = False
        """Something more was found that does not follow, or was left out."""

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
            self._write(following.events, following.data, following.chunk, following.last)
            if following.terminal and following.last is not None:
                self._end(
                    Ending(following.last, following.events[-1].type, True, following.terminal)
                )

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
        if self.is_known and page.is_other_history(self.tip, before):
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
        self._keep(kept_of(cursor, page))
        if self._repairing is None:
            self._publish_waiting()

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
            rest = page.beyond(tip)
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
            self._keep(kept_of(cursor, page, newer or ()))
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
                except ExecutionForgotten:
                    self._start_over()
                    return
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

    def look_again(self) -> None:
        """Each stream reads history on its own, and ends if that is forgotten."""
        self._start_over()

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
