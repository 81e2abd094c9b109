"""A stream behind the tip: it reads page after page and writes them until it stands at the tip.

There is one path for the first replay, a reconnect, a slow reader and another epoch of the history.
The log and `gateway.events.history_page` decide which events these are. Here they are written, in
order, and notices say what history no longer has.
"""

import asyncio
import logging
from typing import TYPE_CHECKING

from gateway.errors import ExecutionForgotten, RedisUnavailable, RegistrationLost, RequestRefused
from gateway.events.batch import EventBatch
from gateway.events.history_page import HistoryPage
from gateway.events.ids import EventId
from gateway.events.sse_encoder import CloseReason
from gateway.fanout.state import pause

if TYPE_CHECKING:
    from gateway.fanout.hub import Hub
    from gateway.fanout.log import Log
    from gateway.fanout.subscriber import Subscriber

log = logging.getLogger(__name__)


_REPAIR_SECONDS = 0.5
"""How long a page waits for a log that is behind it."""


class Reads:
    """The pages that are being read, of all logs, each once for all who ask together.

    A read may be shared since nobody relies on it alone: a stream is live only when it stands at
    the tip, and what a page lacks of that is asked for again.
    """

    def __init__(self, hub: "Hub") -> None:
        self._hub = hub
        self._tasks: dict[tuple[Log, EventId | None, str], asyncio.Task[HistoryPage]] = {}

    async def page(self, log: "Log", cursor: EventId | None, organization_id: str) -> HistoryPage:
        """What follows *cursor*, as far as one page goes. *organization_id*: of a reader who is not
        admitted yet; empty for another one.

        Raises:
            ExecutionNotFound: the execution is not this organization's.
            RedisUnavailable: Redis could not be asked.
        """
        if (known := log.known(cursor)) is not None:
            return known
        asked = (log, cursor, organization_id)
        if (task := self._tasks.get(asked)) is None:
            log.read_begins()
            task = self._tasks[asked] = self._hub.spawn(self._read(*asked))
            # When all who waited have left, nobody else looks at its error.
            task.add_done_callback(_look_at_error)
        page = await asyncio.shield(task)
        if page.cursor_status == "reset" and cursor is not None:
            # No invented cursor has a read of its own: all of them share that of the start.
            return (await self.page(log, None, organization_id)).started_over(cursor)
        if page.more:
            return page
        if log.repairing is not None:
            # It is ahead of the log, which is about to read the same.
            await asyncio.wait([log.repairing], timeout=_REPAIR_SECONDS)
        # With what has come since it was read.
        return log.known(cursor) or page

    async def _read(self, log: "Log", cursor: EventId | None, organization_id: str) -> HistoryPage:
        session, epochs = self._hub.session, log.epochs
        try:
            page = await self._hub.pages.page(
                log.execution_id,
                cursor,
                only_valid=cursor is not None,
                organization_id=organization_id,
            )
            if epochs == log.epochs and page.cursor_status != "reset":
                log.learn(cursor, page, session)
            return page
        finally:
            del self._tasks[log, cursor, organization_id]
            log.read_ended()


class CatchUp:
    """What one stream lacks; it exists until the stream is live."""

    __slots__ = (
        "_overran", "_reading", "_stream", "_was_answered", "_without_ids", "kept_bytes",
    )  # fmt: skip

    def __init__(self, stream: "Subscriber", *, overran: bool = False) -> None:
        """*overran*: its queue was full."""
        self._stream = stream
        self._overran = overran
        self._reading: asyncio.Task[None] | None = None
        self._was_answered = False
        """It just was, after its stream had given up its turn: it keeps the next one."""
        self._without_ids: list[EventBatch] = []
        """Batches without ids that came since its last read began: in no history."""
        self.kept_bytes = 0

    def keep(self, batch: EventBatch) -> None:
        """A *batch* without ids has come: keep it for when the stream has caught up."""
        stream = self._stream
        if self.kept_bytes + len(batch.data) <= stream.most_kept:
            self.kept_bytes += len(batch.data)
            self._without_ids.append(batch)
        else:
            stream.hub.missed(stream.execution_id, len(batch))

    # For the handler of its request.

    def known_page(self) -> HistoryPage | None:
        """What its reader has missed, if no read is needed for that."""
        self._without_ids, self.kept_bytes = [], 0
        return self._stream.log.known(self._stream.position)

    async def page(self, organization_id: str = "") -> HistoryPage:
        """What its reader has missed, as far as one page goes; see `Reads.page`."""
        # What comes without an id from now on must be at hand when it was read.
        self._without_ids, self.kept_bytes = [], 0
        stream = self._stream
        return await stream.hub.reads.page(stream.log, stream.position, organization_id)

    def read_ahead(self, organization_id: str) -> "asyncio.Task[HistoryPage] | None":
        """Begin with the first page, before *organization_id* is known to own the execution: for
        another one nothing is read. None if no read is needed."""
        if self.known_page() is not None:
            return None
        reading = self._stream.hub.spawn(self.page(organization_id))
        # Of a reader who is not admitted nobody looks at its error.
        reading.add_done_callback(_look_at_error)
        return reading

    async def render(self, page: HistoryPage) -> bytes | None:
        """What of the first *page* is to be written; None if the stream was closed meanwhile."""
        if self._enters_another_epoch(page):
            # It was admitted just now.
            await self._readmit(again=False)
        return self._frames_of(page)

    # For its subscriber.

    def step(self) -> bool:
        """One step towards the tip; False if that takes a read, which is begun or under way."""
        if self._reading is not None:
            return False
        stream = self._stream
        if stream.log.is_tip(stream.position):
            stream.go_live(self._without_ids)
            return True
        page = stream.log.known(stream.position)
        if page is not None and not self._enters_another_epoch(page):
            self._show(page)
            return True
        self._reading = stream.hub.spawn(self._read_on())
        return False

    def stop(self) -> None:
        """Its stream is over."""
        if self._reading is not None:
            self._reading.cancel()

    async def _read_on(self) -> None:
        stream = self._stream
        try:
            if not await self._moved_on():
                # History and log disagree for a moment.
                await pause()
        except ExecutionForgotten:
            stream.close(CloseReason.FORGOTTEN)
        except RedisUnavailable:
            await pause()
        except Exception:
            log.exception("A stream of %s failed and is cut off.", stream.execution_id)
            stream.abort()
        finally:
            self._reading = None
        stream.pump()

    async def _moved_on(self) -> bool:
        """Show the next page in its stream's turn. False if that brought it nowhere."""
        stream = self._stream
        try:
            async with stream.turn():
                before = stream.position
                async with asyncio.timeout(None if self._was_answered else stream.turn_seconds):
                    page = await self.page()
                if self._enters_another_epoch(page):
                    await self._readmit(again=stream.admitted_again)
                self._show(page)
                self._was_answered = False
                return stream.position != before or stream.log.is_tip(before)
        except TimeoutError:
            # Without a turn no page is held: the answer says only that there is one.
            await self.page()
            self._was_answered = True
            return True

    def _show(self, page: HistoryPage) -> None:
        frames = self._frames_of(page)
        if frames is not None:
            self._stream.show(page, frames)

    def _frames_of(self, page: HistoryPage) -> bytes | None:
        stream = self._stream
        if stream.is_ending:
            # What waits is `stream:closing`, and the last word.
            return None
        if self._overran and page.cursor_status == "gap":
            stream.close(CloseReason.HISTORY_LOST)
            return None
        notices = page.notices(stream.position)
        if page.cursor_status == "reset":
            stream.metrics.resets += 1
        elif notices:
            stream.metrics.gaps += 1
        return notices + page.frames

    def _enters_another_epoch(self, page: HistoryPage) -> bool:
        """Whether the execution of *page* may be another organization's than the one that this
        principal was admitted to (DELIVERY.md, rule 6)."""
        before = self._stream.admitted_at
        if before is None or self._stream.is_ending:
            return False
        if not page.events:
            return page.cursor_status in ("reset", "gap")
        return any(one.id is not None and one.id.epoch != before.epoch for one in page.events)

    async def _readmit(self, *, again: bool) -> None:
        """*again*: see `Ownership.admit`."""
        stream = self._stream
        try:
            await stream.hub.admit(stream.principal, again=again)
        except RegistrationLost:
            stream.close(CloseReason.STORAGE_LOST)
        except RequestRefused as refusal:
            stream.close(CloseReason.UNAVAILABLE if refusal.temporary else CloseReason.REVOKED)


def _look_at_error(task: asyncio.Task[HistoryPage]) -> None:
    if not task.cancelled():
        task.exception()
