"""A stream behind the tip: it reads page after page and writes them until it stands at the tip.

One path for the first replay, a reconnect, a slow reader and another epoch of the history. Which
events those are is decided by the log and by `gateway.events.history_page`; here they are written,
in order, and notices name what history could not give.
"""

import asyncio
import logging
from typing import TYPE_CHECKING

from gateway.errors import ExecutionForgotten, RedisUnavailable, RegistrationLost, RequestRefused
from gateway.events.batch import EventBatch
from gateway.events.history_page import HistoryPage
from gateway.events.sse_encoder import CloseReason
from gateway.fanout.state import pause

if TYPE_CHECKING:
    from gateway.fanout.subscriber import Subscriber

log = logging.getLogger(__name__)


class CatchUp:
    """What one stream lacks; it exists until the stream is live."""

    __slots__ = ("_bytes", "_overran", "_reading", "_subscriber", "without_ids")

    def __init__(self, subscriber: "Subscriber", *, overran: bool = False) -> None:
        """*overran*: its queue was full."""
        self._subscriber = subscriber
        self._overran = overran
        self._reading: asyncio.Task[None] | None = None
        self.without_ids: list[EventBatch] = []
        """Batches without ids that came since its last read began."""
        self._bytes = 0

    def keep(self, batch: EventBatch) -> None:
        """Keep a batch without ids for when it has caught up; there is no other way to get it."""
        hub = self._subscriber.log.hub
        if self._bytes + len(batch.data) <= hub.bounds.bytes:
            self._bytes += len(batch.data)
            self.without_ids.append(batch)
        else:
            hub.missed(self._subscriber.execution_id, len(batch))

    def read_ahead(self, organization_id: str) -> "asyncio.Task[HistoryPage] | None":
        """Begin with the first page, before *organization_id* is known to own the execution: for
        another one nothing is read. None if no read is needed."""
        if self.known_page() is not None:
            return None
        stream, hub = self._subscriber, self._subscriber.log.hub
        reading = hub.spawn(hub.reads.page(stream.log, stream.position, organization_id))
        # Of a reader who is not admitted nobody looks at its error.
        reading.add_done_callback(lambda done: done.cancelled() or done.exception())
        return reading

    async def first_page(self) -> HistoryPage:
        """What its reader has missed, as far as one page goes.

        Raises:
            RedisUnavailable: Redis could not be asked.
        """
        stream = self._subscriber
        self._collect()
        return await stream.log.hub.reads.page(stream.log, stream.position)

    def known_page(self) -> HistoryPage | None:
        """The same, if no read is needed."""
        self._collect()
        return self._subscriber.log.known(self._subscriber.position)

    async def render(self, page: HistoryPage) -> bytes | None:
        """What of the first *page* is to be written; None if the stream was closed meanwhile."""
        if self._enters_another_epoch(page):
            # It was admitted just now.
            await self._readmit(again=False)
        return self._frames_of(page)

    def step(self) -> bool:
        """One step towards the tip; False if that takes a read, which is begun or under way."""
        if self._reading is not None:
            return False
        stream = self._subscriber
        if stream.log.is_tip(stream.position):
            stream.go_live()
            return True
        page = stream.log.known(stream.position)
        if page is not None and not self._enters_another_epoch(page):
            self._show(page)
            return True
        self._reading = stream.log.hub.spawn(self._read_on())
        return False

    def stop(self) -> None:
        """Its stream is over."""
        if self._reading is not None:
            self._reading.cancel()

    async def _read_on(self) -> None:
        stream = self._subscriber
        try:
            before = stream.position
            self._collect()
            try:
                page = await stream.log.hub.reads.page(stream.log, before)
            except ExecutionForgotten:
                stream.close(CloseReason.FORGOTTEN)
            except RedisUnavailable:
                await pause()
            else:
                if self._enters_another_epoch(page):
                    await self._readmit(again=True)
                self._show(page)
                if stream.position == before and not stream.log.is_tip(before):
                    # History and log disagree for a moment.
                    await pause()
        except Exception:
            log.exception("A stream of %s failed and is cut off.", stream.execution_id)
            stream.abort()
        finally:
            self._reading = None
        stream.pump()

    def _show(self, page: HistoryPage) -> None:
        frames = self._frames_of(page)
        if frames is not None:
            self._subscriber.show(page, frames)

    def _frames_of(self, page: HistoryPage) -> bytes | None:
        stream = self._subscriber
        if stream.is_ending:
            # What waits is `stream:closing`, and the last word.
            return None
        if self._overran and page.cursor_status == "gap":
            stream.close(CloseReason.HISTORY_LOST)
            return None
        notices = page.notices(stream.position)
        if page.cursor_status == "reset":
            stream.log.hub.metrics.resets += 1
        elif notices:
            stream.log.hub.metrics.gaps += 1
        return notices + page.frames

    def _enters_another_epoch(self, page: HistoryPage) -> bool:
        """Whether the execution of *page* may be another organization's than the one that this
        principal was admitted to (DELIVERY.md, rule 6)."""
        before = self._subscriber.admitted_at
        if before is None or self._subscriber.is_ending:
            return False
        if not page.events:
            return page.cursor_status == "reset"
        return any(one.id is not None and one.id.epoch != before.epoch for one in page.events)

    async def _readmit(self, *, again: bool) -> None:
        """*again*: see `Ownership.admit`."""
        stream = self._subscriber
        try:
            await stream.log.hub.admit(stream.principal, again=again)
        except RegistrationLost:
            stream.close(CloseReason.STORAGE_LOST)
        except RequestRefused as refusal:
            stream.close(CloseReason.UNAVAILABLE if refusal.temporary else CloseReason.REVOKED)

    def _collect(self) -> None:
        """Keep from now on the events without ids that come: history is about to be read."""
        self.without_ids, self._bytes = [], 0
