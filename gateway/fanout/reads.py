"""Pages of histories: from what a log keeps, or read once for all who ask together.

A read may be shared since nobody relies on it alone: a stream is live only when it stands at the
tip, and what a page lacks of that is asked for again.
"""

import asyncio
from typing import TYPE_CHECKING

from gateway.events.history_page import HistoryPage
from gateway.events.ids import EventId

if TYPE_CHECKING:
    from gateway.fanout.hub import Hub
    from gateway.fanout.log import Log

_Question = tuple["Log", EventId | None, bool, str]
"""A log, a cursor, whether only a valid one is read for, and the organization that must own it."""


class Reads:
    """The reads under way, of all logs."""

    def __init__(self, hub: "Hub") -> None:
        self._hub = hub
        self._tasks: dict[_Question, asyncio.Task[HistoryPage]] = {}

    async def page(
        self, log: "Log", cursor: EventId | None, organization_id: str = ""
    ) -> HistoryPage:
        """What follows *cursor*, as far as one page goes; read once for all who ask together.
        *organization_id*: of a reader who is not admitted yet.

        Raises:
            ExecutionNotFound: the execution is not this organization's.
            RedisUnavailable: Redis could not be asked.
        """
        if (known := log.known(cursor)) is not None:
            return known
        read = await asyncio.shield(
            self.read(log, cursor, only_valid=cursor is not None, organization_id=organization_id)
        )
        if read.cursor_status == "reset" and cursor is not None:
            # No invented cursor has a read of its own: all of them share that of the start.
            return (await self.page(log, None, organization_id)).started_over(cursor)
        if not read.more and read.cursor_status in ("start", "valid"):
            # With what has come since it was read.
            return log.known(cursor) or read
        return read

    def read(
        self,
        log: "Log",
        cursor: EventId | None,
        *,
        only_valid: bool = False,
        organization_id: str = "",
    ) -> "asyncio.Task[HistoryPage]":
        """History after *cursor*, whatever the log knows; what it says, the log learns."""
        question = (log, cursor, only_valid, organization_id)
        task = self._tasks.get(question)
        if task is None:
            log.read_begins()
            task = self._tasks[question] = self._hub.spawn(self._read_page(question))
            # When all who waited have left, nobody else looks at its error.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    async def _read_page(self, question: _Question) -> HistoryPage:
        log, cursor, only_valid, organization_id = question
        session, epochs = self._hub.session, log.epochs
        before = log.tip if log.is_known else None
        try:
            try:
                page = await self._hub.pages.page(
                    log.execution_id,
                    cursor,
                    only_valid=only_valid,
                    organization_id=organization_id,
                )
            finally:
                del self._tasks[question]
            says_nothing = only_valid and page.cursor_status == "reset"
            if epochs == log.epochs and not says_nothing:
                log.learn(cursor, page, before, session)
            return page
        finally:
            log.read_ended()
