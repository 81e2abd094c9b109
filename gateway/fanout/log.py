"""The log of one watched execution: where its history stands, and who is at that tip.

The one rule: an event is written if its id follows the tip. Then it is written to all live streams
at once, and the tip moves. If an event does not follow, history is read from the tip on, once for
all of them; nothing else moves a tip that is known. A stream behind the tip catches up by
itself (`gateway.fanout.catch_up`), page by page.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from gateway.errors import ExecutionForgotten, RedisUnavailable
from gateway.events.batch import EventBatch, as_chunk
from gateway.events.ending import EndingStatus
from gateway.events.envelope import Event
from gateway.events.history_page import Ending, HistoryPage
from gateway.events.ids import NO_EVENT, EventId
from gateway.fanout.kept import Kept, Waiting
from gateway.fanout.state import pause
from gateway.fanout.streams import Streams

if TYPE_CHECKING:
    from gateway.fanout.hub import Hub

logger = logging.getLogger(__name__)


class Log:
    """Writes what follows the tip, and finds out about what does not."""

    __slots__ = (
        "_first", "_kept", "_read_again", "_reads", "_run", "_session", "_subscribed", "_waiting",
        "ending", "epochs", "execution_id", "hub", "is_known", "repairing", "streams", "tip",
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
        """The session in which the tip was last found to be the end of history."""
        self._subscribed = hub.session
        """The session in which the present subscription to its events began."""
        self._run: int | None = None
        """The epoch with which the run began, of one that was restarted."""
        self._first: EventId | None = None
        """An id that was taken for the first one, until history says so."""
        self._kept: Kept | None = None
        self._reads = 0
        """Pages that are being read."""
        self.repairing: asyncio.Task[None] | None = None
        """Reads on from the tip, of one that is known."""
        self._read_again = False
        """Something more was found that does not follow, or was left out."""
        self._waiting: Waiting | None = None

    @property
    def is_idle(self) -> bool:
        """Nobody watches, nothing is kept, and nothing is under way."""
        return not (self.streams or self._kept or self._reads or self.repairing)

    def publish(self, batch: EventBatch, is_first_known: bool) -> None:
        """Write what of *batch* follows; *is_first_known*: see `Hub.publish`."""
        if batch.first is None:
            # In no history: a stream that catches up keeps those that come meanwhile.
            self._write(batch.events, batch.data, batch.chunk, self.tip)
            for subscriber in list(self.streams.behind):
                subscriber.keep(batch)
            if batch.terminal:
                self._end(self.ending, batch.terminal)
        elif self.ending is not None:
            # What follows the end is in history, and no stream is given it; but it may have begun
            # again, for those who come back.
            if batch.first.epoch != self.ending.id.epoch:
                self.start_over()
        elif not self.is_known or self.repairing is not None:
            # Until history was read, nobody can say whether it follows.
            self._waiting = self._waiting or Waiting()
            self._read_again |= not self._waiting.add(batch, is_first_known)
        elif (following := self._following(batch, batch.first, is_first_known)) is not None:
            self._write(following.events, following.data, following.chunk, following.last)
            last, status = following.events[-1], following.terminal
            if status and last.id is not None:
                self._end(Ending(last.id, last.type, True, status))

    def _following(
        self, batch: EventBatch, first: EventId, is_first_known: bool
    ) -> EventBatch | None:
        """What of *batch*, which begins with *first*, follows the tip. Else it is looked up: this
        is the one place for ids that do not continue what is known."""
        tip = self.tip
        if batch.before == tip:
            return batch
        if tip is not None and tip.is_at_or_after(first):
            return batch.after(tip)
        # History was empty, is the first one that was seen, and nothing can have been missed since.
        is_new = tip is None and not self.epochs and self._session >= self._subscribed
        if is_new and first.seq == 1:
            if not is_first_known:
                self._first = first
                self.hub.spawn(self._ask_whether_first(first))
            return batch
        self.repair()
        return None

    def _write(
        self, events: Sequence[Event], data: bytes, chunk: bytes, tip: EventId | None
    ) -> None:
        """Write *events*; then all who are live stand at *tip*."""
        delivered = self.streams.write(data, chunk, len(events))
        self.hub.metrics.events_delivered += len(events) * delivered
        if tip != self.tip:
            self.tip = tip
            if self._kept is not None:
                self._kept.extend(events)
                self.hub.kept.grew(self, self._kept.size)

    def _end(self, ending: Ending | None, status: EndingStatus | None = None) -> None:
        self.ending = ending
        for subscriber in self.streams.live:
            subscriber.complete(ending.status if ending is not None else status)

    def _publish_waiting(self) -> None:
        """History was read: go on with what came meanwhile."""
        waiting, self._waiting = self._waiting, None
        for one in waiting.batches if waiting is not None else ():
            self.publish(*one)
        if self._read_again:
            self.repair()

    async def _ask_whether_first(self, first: EventId) -> None:
        """A payload said that *first* begins this history. If it does not, streams start over."""
        kept = None
        with suppress(RedisUnavailable):
            kept = await self.hub.pages.page(self.execution_id, NO_EVENT, only_valid=True)
        if self._first == first:
            self._first = None
            if kept is None or kept.first_kept != first:
                self.start_over(notice=True)

    # Pages, for those behind the tip.

    def is_tip(self, position: EventId | None) -> bool:
        """Whether a stream at *position* lacks nothing."""
        return self.is_known and self.tip == position

    def known(self, cursor: EventId | None) -> HistoryPage | None:
        """What follows *cursor* to the tip, if that is certain without a read."""
        if not self.is_known or self.repairing or self._session < self._subscribed:
            return None
        if (kept := self._kept) is not None:
            # What is shared may be all of it once more.
            self.hub.kept.asked(self, 2 * kept.size)
        elif cursor is None or cursor != self.tip:
            return None
        else:
            kept = Kept(cursor, None)
        return kept.page(cursor, self.tip, self.ending, self._run)

    def read_begins(self) -> None:
        """What comes while history is read must be at hand when it was."""
        self._reads += 1
        if self.is_known and self._kept is None:
            self._keep(Kept(self.tip, None))

    def read_ended(self) -> None:
        """It was read, or could not be."""
        self._reads -= 1
        self.hub.forget_if_idle(self)

    def learn(self, cursor: EventId | None, page: HistoryPage, session: int) -> None:
        """What *page*, read after *cursor* in *session*, says about the tip, and leaves for others
        who come."""
        if page.is_over_for(cursor) and page.ending is not None and cursor != page.ending.id:
            # Beyond the end: it shows nothing that a stream is given.
            return
        self._run = page.run
        if page.more:
            return
        newer: Sequence[Event] | None = ()
        if not self.is_known:
            self.tip, self.is_known = page.end, True
        elif page.end != self.tip:
            newer = self._kept.after(page.end) if self._kept is not None else None
        if newer is None:
            # It is ahead of the tip, or of another history.
            self.repair()
            return
        self._session = max(self._session, session)
        begin = cursor if page.cursor_status == "valid" else None
        self._keep(Kept(begin, page.first_kept, [*page.events, *newer], page.former))
        if page.is_last or page.is_over_for(cursor):
            self._end(page.ending)
        if self.repairing is None:
            self._publish_waiting()
        if session < self._subscribed:
            # What came between the read and the subscription is in neither.
            self.repair()

    def _keep(self, kept: Kept) -> None:
        self._kept = kept
        self.hub.kept.asked(self, kept.size)

    def let_go(self) -> None:
        """Keep no events any more."""
        self._kept = None
        self.hub.kept.gone(self)
        self.hub.forget_if_idle(self)

    def repair(self) -> None:
        """Read on from the tip, and write the result to all who are at it."""
        self._read_again = True
        if self.repairing is None and self.is_known and self.ending is None:
            self.repairing = self.hub.spawn(self._repair())

    async def _repair(self) -> None:
        try:
            while self._read_again and self.is_known and self.streams:
                self._read_again = False
                session, epochs = self.hub.session, self.epochs
                try:
                    page = await self.hub.pages.page(self.execution_id, self.tip)
                except ExecutionForgotten:
                    self.start_over()
                except RedisUnavailable:
                    self._read_again = True
                    await pause()
                else:
                    if epochs == self.epochs:
                        self._advance(page, session)
        except Exception:
            logger.exception("What the streams of %s lack cannot be read.", self.execution_id)
            # Each reads for itself now, and is cut off if that fails too.
            self.start_over()
        self.repairing = None
        if not self.streams:
            # Who comes next reads what was not found.
            self.tip, self.is_known = None, False
            self.let_go()
        elif self.is_known:
            self._publish_waiting()

    def _advance(self, page: HistoryPage, session: int) -> None:
        """Write *page*, read from the tip on in *session*, to all who are at it."""
        tip = self.tip
        if page.is_other_history(tip) or (tip is None and self.epochs and page.events):
            self.start_over()
            return
        self._run = page.run
        if notices := page.notices(tip):
            self.let_go()  # What is kept has no hole.
            self.hub.metrics.gaps += sum(one.is_counted for one in self.streams.live)
        if data := notices + page.frames:
            self._write(page.events, data, as_chunk(data), page.end)
        if page.more:
            self._read_again = True
            return
        self._session = max(self._session, session)
        if page.is_last and page.ending is not None:
            self._end(page.ending)

    def start_over(self, notice: bool = False) -> None:
        """It is another history, or none: each stream catches up on its own, since its principal
        must be admitted to that. With *notice* it gets `stream:reset` first."""
        self.epochs += 1
        self.is_known, self.ending, self._first = False, None, None
        self.let_go()
        for subscriber in self.streams.live:
            subscriber.fall_behind(start_over=notice)
        self.tip = None

    def audit(self, last: EventId | None, session: int) -> bool:
        """Compare the tip with the *last* id of history, asked for in *session*; whether it was
        behind unnoticed."""
        if not self.is_known or self.ending is not None:
            return False
        if self.tip == last or (self.tip and last and self.tip.is_at_or_after(last)):
            self._session = max(self._session, session)
            return False
        is_new = self.repairing is None and self._session >= self._subscribed
        self.repair()
        return is_new

    def subscribed(self, session: int) -> None:
        """A new subscription has begun with *session*: before it anything may have been missed."""
        self._subscribed = session
        self.let_go()
        if self._first is not None:
            self.start_over(notice=True)
