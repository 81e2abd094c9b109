"""The log of one watched execution: where its history stands, and who is at that tip.

The one rule: an event is written if its id follows the tip. Then it is written to all live streams
at once, and the tip moves. Whatever does not follow is looked up in history from the tip on, once
for all of them. A stream behind the tip catches up by itself (`gateway.fanout.catch_up`).
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gateway.errors import ExecutionForgotten, RedisUnavailable
from gateway.events.batch import EventBatch, as_chunk
from gateway.events.envelope import Event
from gateway.events.history_page import Ending, HistoryPage
from gateway.events.ids import EventId
from gateway.fanout.kept import Kept
from gateway.fanout.state import pause
from gateway.fanout.streams import Streams

if TYPE_CHECKING:
    from gateway.fanout.hub import Hub

_WAITING_BYTES = 4 * 1024 * 1024
"""Bytes of events that wait for a read; what more of them there is, is read too."""


class Log:
    """Writes what follows the tip, and finds out about what does not."""

    __slots__ = (
        "_first", "_kept", "_read_again", "_reads", "_repairing", "_run", "_session", "_waiting",
        "_waiting_bytes", "ending", "epochs", "execution_id", "hub", "is_known", "streams", "tip",
    )  # fmt: skip

    def __init__(self, execution_id: str, hub: "Hub") -> None:
        self.execution_id = execution_id
        self.hub = hub
        self.streams = Streams()
        self.tip: EventId | None = None
        """The last event that was written to those at the tip; None before the first one."""
        self.is_known = False
        """Whether `tip` is known: history was read to its end."""
        self.ending: Ending | None = None
        self.epochs = 0
        """How often the history turned out to be another one."""
        self._session = -1
        """The subscription session in which the tip was last found to be the end of history."""
        self._kept: Kept | None = None
        self._reads = 0
        self._repairing: asyncio.Task[None] | None = None
        self._run: int | None = None
        """The epoch with which the run began, of one that was restarted."""
        self._first: EventId | None = None
        """An id that was taken for the first one, until history says so."""
        self._waiting: list[tuple[EventBatch, bool]] | None = None
        self._waiting_bytes = 0
        self._read_again = False
        """Something more was found that does not follow, or was left out."""

    # What the feed brings.

    def publish(self, batch: EventBatch, recorded_here: bool) -> None:
        """Write what of *batch* follows. *recorded_here*: no id of it needs a question."""
        if batch.first is None:
            self._publish_without_ids(batch)
        elif self.ending is not None:
            # What follows the end is in history, and no stream is given it; but it may have begun
            # again, for those who come back.
            if batch.first.epoch != self.ending.id.epoch:
                self.start_over()
        elif not self.is_known or self._repairing is not None:
            # Until history was read, nobody can say whether it follows.
            self._waiting_bytes += len(batch.data)
            if self._waiting_bytes <= _WAITING_BYTES:
                self._waiting = self._waiting or []
                self._waiting.append((batch, recorded_here))
            else:
                self._read_again = True
        elif (following := self._following(batch, recorded_here)) is not None:
            self._write(following.events, following.data, following.chunk, following.last)
            last, status = following.events[-1], following.terminal
            if status and last.id is not None:
                self._end(Ending(last.id, last.type, True, status))

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
                self.start_over()
                return None
            if first.seq == 1 and self._session == self.hub.session:
                # History was empty, and nothing can have been missed since.
                if not recorded_here:
                    self._first = first
                    self.hub.spawn(self._ask_whether_first(first))
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
            self.hub.kept.grew(self, self._kept.size)
        delivered = self.streams.write(data, chunk, len(events), before)
        self.hub.metrics.events_delivered += len(events) * delivered

    def _publish_without_ids(self, batch: EventBatch) -> None:
        """These are in no history: a stream that catches up keeps those that come meanwhile."""
        delivered = self.streams.write(batch.data, batch.chunk, len(batch), self.tip)
        self.hub.metrics.events_delivered += len(batch) * delivered
        for subscriber in self.streams.behind:
            subscriber.keep(batch)
        if batch.terminal:
            for subscriber in self.streams.live:
                subscriber.complete()

    def _end(self, ending: Ending) -> None:
        self.ending = ending
        for subscriber in self.streams.live:
            subscriber.complete()

    def _publish_waiting(self) -> None:
        """History was read: go on with what came meanwhile."""
        waiting, self._waiting, self._waiting_bytes = self._waiting, None, 0
        for batch, recorded_here in waiting or ():
            self.publish(batch, recorded_here)
        if self._read_again:
            self.repair()

    # What history says.

    def learn(
        self, cursor: EventId | None, page: HistoryPage, before: EventId | None, session: int
    ) -> None:
        """What *page*, read after *cursor* when the tip was *before*, says about the tip."""
        self._run = page.run
        if page.is_over_for(cursor) and page.ending is not None and cursor != page.ending.id:
            # Beyond the end: it shows nothing that a stream is given.
            return
        if page.more and not self.is_tip(cursor):
            return
        if self.is_known and page.is_other_history(self.tip, before):
            self.start_over()
            if page.more:
                return
        if self.is_known:
            self._advance(cursor, page, session)
            return
        self.tip, self.is_known, self._session = page.end, True, session
        if page.is_last or page.is_over_for(cursor):
            self.ending = page.ending
        self._keep(cursor, page)
        if self._repairing is None:
            self._publish_waiting()

    def start_over(self, notice: bool = False) -> None:
        """It is another history, or none: each stream catches up on its own, since its principal
        must be admitted to that. With *notice* it gets `stream:reset` first."""
        position, live = self.tip, self.streams.live
        self.epochs += 1
        self.tip, self.is_known, self.ending, self._first = None, False, None, None
        self.let_go()
        for subscriber in live:
            subscriber.fall_behind(position, start_over=notice)

    def _advance(self, cursor: EventId | None, page: HistoryPage, session: int) -> None:
        """Write what of *page* is beyond the tip to all who are at it."""
        notices = page.notices(cursor) if cursor == self.tip else b""
        rest = page.events if cursor == self.tip else page.beyond(self.tip)
        if cursor != self.tip and rest and (self.tip is None or rest[0].id != self.tip.next()):
            self.repair()
            return
        if rest or notices:
            self.hub.metrics.gaps += len(self.streams.live) if notices else 0
            data = b"".join([notices, *(one.frame for one in rest)])
            self._write(rest, data, as_chunk(data), page.end)
        if page.more:
            return
        self._session = max(self._session, session)
        newer = self._kept and self._kept.after(page.end)
        if page.end == self.tip or newer is not None:
            self._keep(cursor, page, newer or ())
        if page.is_last and page.ending is not None:
            self._end(page.ending)

    def is_tip(self, position: EventId | None) -> bool:
        """Whether a stream at *position* lacks nothing."""
        return self.is_known and self.tip == position

    def known(self, cursor: EventId | None) -> HistoryPage | None:
        """What follows *cursor* to the tip, if that is certain without a read."""
        if not self.is_known or self._repairing or self._session != self.hub.session:
            return None
        if (kept := self._kept) is not None:
            # What is shared may be all of it once more.
            self.hub.kept.asked(self, 2 * kept.size)
        elif cursor is None or cursor != self.tip:
            return None
        else:
            kept = Kept(cursor, None)
        return kept.page(cursor, self.tip, self.ending, self._run)

    def _keep(self, cursor: EventId | None, page: HistoryPage, newer: Sequence[Event] = ()) -> None:
        """Keep what *page*, read after *cursor*, and what is *newer* leave for others."""
        begin = cursor if page.cursor_status == "valid" else None
        self._kept = Kept(begin, page.first_kept, [*page.events, *newer])
        self.hub.kept.asked(self, self._kept.size)

    def let_go(self) -> None:
        """Keep no events any more."""
        self._kept = None
        self.hub.kept.gone(self)
        self.hub.forget_if_idle(self)

    def read_begins(self) -> None:
        """What comes while history is read must be at hand when it was."""
        self._reads += 1
        if self.is_known and self._kept is None:
            self._kept = Kept(self.tip, None)
            self.hub.kept.asked(self, 0)

    def read_ended(self) -> None:
        """It was read, or could not be."""
        self._reads -= 1
        self.hub.forget_if_idle(self)

    @property
    def is_idle(self) -> bool:
        """Nobody watches, nothing is kept, and nothing is under way."""
        return not (self.streams or self._kept or self._reads or self._repairing)

    # Repairs.

    def repair(self) -> None:
        """Read on from the tip, and write the result to all who are at it."""
        self._read_again = True
        if self._repairing is None and self.is_known and self.ending is None:
            self._repairing = self.hub.spawn(self._repair())

    async def _repair(self) -> None:
        try:
            while self._read_again and self.is_known and self.streams:
                self._read_again = False
                try:
                    page = await self.hub.reads.read(self, self.tip)
                    self._read_again = self._read_again or page.more
                except ExecutionForgotten:
                    self.start_over()
                    return
                except RedisUnavailable:
                    self._read_again = True
                    await pause()
        finally:
            self._repairing = None
        if not self.streams:
            # Who comes next reads what was not found.
            self.tip, self.is_known = None, False
            self.let_go()
        elif self.is_known:
            self._publish_waiting()

    def audit(self, last: EventId | None, session: int) -> None:
        """Compare the tip with the *last* id of history, asked for in *session*."""
        if not self.is_known or self.ending is not None:
            return
        if self.tip == last or (self.tip and last and self.tip.is_at_or_after(last)):
            self._session = max(self._session, session)
        else:
            self.repair()

    def doubt(self) -> None:
        """There is a new subscription: between it and the last one anything may have come."""
        self.let_go()
        if self._first is not None:
            self.start_over(notice=True)

    async def _ask_whether_first(self, first: EventId) -> None:
        """A payload said that *first* begins this history. If it does not, streams start over."""
        try:
            is_first = await self.hub.pages.first(self.execution_id) == first
        except RedisUnavailable:
            is_first = False
        if self._first == first:
            self._first = None
            if not is_first:
                self.start_over(notice=True)
