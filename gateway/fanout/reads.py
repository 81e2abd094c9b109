"""What one process knows of an execution's history, and the reads of it, shared by all who ask.

A read may be shared since nobody relies on it alone: a stream is live only when it stands at the
tip, and what a page lacks of that is asked for again.
"""

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from gateway.events.history_page import CursorStatus, Ending, HistoryPage
from gateway.events.ids import EventId
from gateway.fanout.kept import Kept
from gateway.fanout.live import LiveStreams

if TYPE_CHECKING:
    from gateway.fanout.hub import Hub
    from gateway.fanout.subscriber import Subscriber

_Question = tuple[EventId | None, bool, str]
"""A cursor, whether only a valid one is read for, and the organization that must own it."""


class KnownHistory(ABC):
    """The tip, the streams that stand there, and the events at hand without a read."""

    __slots__ = (
        "_hub", "_kept", "_reads", "_repairing", "_run", "_session", "_shared", "ending",
        "epochs", "execution_id", "is_known", "live", "subscribers", "tip",
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
        self._kept: Kept | None = None
        self._reads: dict[_Question, asyncio.Task[HistoryPage]] = {}
        self._shared: tuple[EventId | None, HistoryPage] | None = None
        """A page that was given out for a cursor; good for as long as the tip is where it ends."""
        self._repairing: asyncio.Task[None] | None = None
        self._run: int | None = None
        """The epoch with which the run began, of one that was restarted."""

    @abstractmethod
    def _learn(
        self, cursor: EventId | None, page: HistoryPage, before: EventId | None, session: int
    ) -> None:
        """What *page*, read after *cursor* when the tip was *before*, says about the tip."""

    def is_tip(self, position: EventId | None) -> bool:
        """Whether a stream at *position* lacks nothing."""
        return self.is_known and self.tip == position

    def known(self, cursor: EventId | None) -> HistoryPage | None:
        """What follows *cursor* to the tip, if that is certain without a read."""
        if not self.is_known or self._repairing or self._session != self._hub.session:
            return None
        rest = first = None
        if self._kept is not None:
            # What is shared may be all of it once more.
            self._hub.kept.asked(self, 2 * self._kept.size)
        if self._shared is not None and self._shared[0] == cursor:
            page = self._shared[1]
            if page.end == self.tip and page.ending == self.ending:
                return page
        if self._kept is not None:
            rest, first = self._kept.after(cursor), self._kept.first
        if rest is None and (cursor is None or cursor != self.tip):
            return None
        status: CursorStatus = "start" if cursor is None else "valid"
        page = HistoryPage(
            status,
            rest or [],
            first,
            self.ending,
            more=False,
            last=None,
            end=self.tip,
            run=self._run,
        )
        self._shared = cursor, page
        return page

    async def page(self, cursor: EventId | None, organization_id: str = "") -> HistoryPage:
        """What follows *cursor*, as far as one page goes; read once for all who ask together.
        *organization_id*: of a reader who is not admitted yet.

        Raises:
            ExecutionNotFound: the execution is not this organization's.
            RedisUnavailable: Redis could not be asked.
        """
        if (known := self.known(cursor)) is not None:
            return known
        read = await asyncio.shield(
            self._read(cursor, only_valid=cursor is not None, organization_id=organization_id)
        )
        if read.cursor_status == "reset" and cursor is not None:
            # No invented cursor has a read of its own: all of them share that of the start.
            return (await self.page(None, organization_id)).started_over(cursor)
        if not read.more and read.cursor_status in ("start", "valid"):
            # With what has come since it was read.
            return self.known(cursor) or read
        return read

    def _read(
        self, cursor: EventId | None, *, only_valid: bool = False, organization_id: str = ""
    ) -> "asyncio.Task[HistoryPage]":
        question = (cursor, only_valid, organization_id)
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
        cursor, only_valid, organization_id = question
        session, epochs = self._hub.session, self.epochs
        before = self.tip if self.is_known else None
        try:
            try:
                page = await self._hub.pages.page(
                    self.execution_id,
                    cursor,
                    only_valid=only_valid,
                    organization_id=organization_id,
                )
            finally:
                del self._reads[question]
            says_nothing = only_valid and page.cursor_status == "reset"
            if epochs == self.epochs and not says_nothing:
                self._run = page.run
                self._learn(cursor, page, before, session)
            return page
        finally:
            self._hub.forget_if_idle(self)

    def _keep(self, kept: Kept) -> None:
        self._kept, self._shared = kept, None
        self._hub.kept.asked(self, kept.size)

    def let_go(self) -> None:
        """Keep no events any more; who needs them reads history."""
        self._kept = self._shared = None
        self._hub.kept.gone(self)
        self._hub.forget_if_idle(self)

    @property
    def is_idle(self) -> bool:
        """Nobody watches, nothing is kept, and nothing is under way."""
        return not (self.subscribers or self._kept or self._reads or self._repairing)
