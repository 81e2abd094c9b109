"""Reads of one execution's history, shared by all streams that ask, and what is kept of them.

A read may be shared since nobody relies on it alone: a stream is live only when it stands at the
tip, and what a page lacks of that is asked for again.
"""

import asyncio
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.events.envelope import Event
from gateway.events.history_page import CursorStatus, HistoryPage
from gateway.events.ids import EventId
from gateway.fanout.kept import Kept
from gateway.fanout.tip import Tip

if TYPE_CHECKING:
    from gateway.fanout.hub import Hub


_Question = tuple[EventId | None, bool]
"""A cursor, and whether only a valid one is read for."""


class Reads(Tip, ABC):
    """The reads under way, and the events at hand without one."""

    __slots__ = ("_kept", "_reads", "_repairing", "_run", "_session", "epochs")

    def __init__(self, execution_id: str, hub: "Hub") -> None:
        super().__init__(execution_id, hub)
        self.epochs = 0
        """How often the history turned out to be another one."""
        self._kept: Kept | None = None
        self._reads: dict[_Question, asyncio.Task[HistoryPage]] = {}
        self._repairing: asyncio.Task[None] | None = None
        self._run: int | None = None
        """The epoch with which the run began, of one that was restarted."""
        self._session = -1
        """The subscription session in which the tip was last found to be the end of history."""

    @abstractmethod
    def _learn(
        self, cursor: EventId | None, page: HistoryPage, before: EventId | None, session: int
    ) -> None:
        """What *page*, read after *cursor* when the tip was *before*, says about the tip."""

    def known(self, cursor: EventId | None) -> HistoryPage | None:
        """What follows *cursor* to the tip, if that is certain without a read."""
        if not self.is_known or self._repairing or self._session != self._hub.session:
            return None
        rest = self._kept.after(cursor) if self._kept is not None else None
        if self._kept is not None:
            self._hub.kept.asked(self, self._kept.size)
        if rest is None and cursor is not None and cursor == self.tip:
            rest = []
        if rest is None:
            return None
        first = self._kept.first if self._kept is not None else None
        status: CursorStatus = "start" if cursor is None else "valid"
        return HistoryPage(
            status, rest, first, self.ending, more=False, last=None, end=self.tip, run=self._run
        )

    async def page(self, cursor: EventId | None) -> HistoryPage:
        """What follows *cursor*, as far as one page goes; read once for all who ask together.

        Raises:
            RedisUnavailable: Redis could not be asked.
        """
        if (known := self.known(cursor)) is not None:
            return known
        read = await asyncio.shield(self._read(cursor, only_valid=cursor is not None))
        if read.cursor_status == "reset" and cursor is not None:
            # No invented cursor has a read of its own: all of them share that of the start.
            return _started_over(await self.page(None), cursor)
        # With what has come since it was read.
        known = (
            self.known(cursor)
            if not read.more and read.cursor_status in ("start", "valid")
            else None
        )
        return known or read

    def _read(
        self, cursor: EventId | None, *, only_valid: bool = False
    ) -> "asyncio.Task[HistoryPage]":
        question = (cursor, only_valid)
        task = self._reads.get(question)
        if task is None:
            if self.is_known and self._kept is None:
                # What comes while it is read must be at hand when it was.
                self._set_kept(Kept(self.tip, None))
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
                self._run = page.run
                self._learn(cursor, page, before, session)
            return page
        finally:
            self._hub.forget_if_idle(self)

    def _keep(self, events: list[Event]) -> None:
        if self._kept is not None:
            self._kept.extend(events)
            self._hub.kept.grew(self, self._kept.size)

    def _set_kept(self, kept: Kept) -> None:
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


def _started_over(start: HistoryPage, cursor: EventId) -> HistoryPage:
    """*start* for a reader whose *cursor* is not valid."""
    first = start.first_kept
    is_gap = first is not None and first.epoch == cursor.epoch and cursor.seq < first.seq
    return replace(start, cursor_status="gap" if is_gap else "reset")
