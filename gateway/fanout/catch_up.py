"""A stream behind the tip: it reads page after page and writes them until it stands at the tip.

One path for the first replay, a reconnect, a slow reader and another epoch of the history. Which
events those are is decided by the log and by `gateway.events.history_page`; here they are written,
in order, and notices name what history could not give.
"""

import asyncio
import logging
import random
from abc import abstractmethod
from typing import TYPE_CHECKING

from gateway.errors import ExecutionForgotten, RedisUnavailable, RegistrationLost, RequestRefused
from gateway.events.batch import EventBatch
from gateway.events.history_page import HistoryPage
from gateway.events.ids import EventId
from gateway.events.sse_encoder import CloseReason
from gateway.fanout.connection import StreamConnection
from gateway.fanout.log import PAUSE, Log
from gateway.fanout.state import State
from gateway.principal import Principal

if TYPE_CHECKING:
    from gateway.fanout.hub import Hub

log = logging.getLogger(__name__)


class CatchUp(StreamConnection):
    """Brings one stream to the tip of its execution's log."""

    __slots__ = (
        "_former",
        "_hub",
        "_overran",
        "_position",
        "_reading",
        "_without_ids",
        "_without_ids_bytes",
        "principal",
        "state",
    )  # fmt: skip

    def __init__(self, principal: Principal, cursor: EventId | None, log: Log, hub: "Hub") -> None:
        super().__init__(log, hub.stalls)
        self.principal = principal
        self.state = State.OPENING
        self._hub = hub
        self._position = cursor
        """The last event that was written; while it is live, the log knows better."""
        self._former: EventId | None = None
        """Where it was in a history that is gone: its viewer was admitted to that one."""
        self._overran = False
        """Its queue was full; nothing of it counts once it is live again."""
        self._without_ids: list[EventBatch] | None = None
        self._without_ids_bytes = 0
        self._reading: asyncio.Task[None] | None = None

    @property
    def execution_id(self) -> str:
        """Of the execution that it watches."""
        return self.principal.execution_id

    @abstractmethod
    def close(self, reason: CloseReason) -> None:
        """End the stream after what waits, telling the reader why."""

    @abstractmethod
    def complete(self) -> None:
        """The execution has ended, and all of it was written."""

    @abstractmethod
    def _go_live(self) -> None:
        """It stands at the tip."""

    def read_ahead(self, organization_id: str) -> "asyncio.Task[HistoryPage] | None":
        """Begin with the first page, before *organization_id* is known to own the execution: for
        another one nothing is read. None if no read is needed."""
        self._collect()
        if self._log.known(self._position) is not None:
            return None
        reading = self._hub.spawn(self._log.page(self._position, organization_id))
        # Of a reader who is not admitted nobody looks at its error.
        reading.add_done_callback(lambda done: done.cancelled() or done.exception())
        return reading

    async def first_page(self) -> HistoryPage:
        """What its reader has missed, as far as one page goes.

        Raises:
            RedisUnavailable: Redis could not be asked.
        """
        self._collect()
        return await self._log.page(self._position)

    def known_page(self) -> HistoryPage | None:
        """The same, if no read is needed."""
        self._collect()
        return self._log.known(self._position)

    async def render(self, page: HistoryPage) -> bytes | None:
        """What of *page* is to be written; None if the stream was closed meanwhile."""
        if self._enters_another_epoch(page):
            # It was admitted just now.
            await self._readmit(again=False)
        return self._frames_of(page)

    def keep(self, batch: EventBatch) -> None:
        """Keep a batch without ids for when it has caught up; there is no other way to get it."""
        if self._without_ids is not None:
            self._without_ids_bytes += len(batch.data)
            if self._without_ids_bytes <= self._hub.bounds.bytes:
                self._without_ids.append(batch)

    def _catch_up(self) -> bool:
        """One step towards the tip; False if that takes a read, which is begun."""
        if self._log.is_tip(self._position):
            self._go_live()
            return True
        page = self._log.known(self._position)
        if page is not None and not self._enters_another_epoch(page):
            self._show(page)
            return True
        self._reading = self._hub.spawn(self._read_on())
        return False

    async def _read_on(self) -> None:
        try:
            before = self._position
            self._collect()
            try:
                page = await self._log.page(before)
            except ExecutionForgotten:
                self.close(CloseReason.FORGOTTEN)
            except RedisUnavailable:
                await asyncio.sleep(random.uniform(*PAUSE))  # noqa: S311 - spreads load
            else:
                if self._enters_another_epoch(page):
                    await self._readmit(again=True)
                self._show(page)
                if self._position == before and not self._log.is_tip(before):
                    # History and log disagree for a moment.
                    await asyncio.sleep(PAUSE[0])
        except Exception:
            log.exception("A stream of %s failed and is cut off.", self.execution_id)
            self.abort()
        finally:
            self._reading = None
        self._pump()

    def _show(self, page: HistoryPage) -> None:
        """Write *page*; only then the position moves."""
        frames = self._frames_of(page)
        if frames is not None:
            if frames:
                self._write(frames)
            self._got(page)

    def _frames_of(self, page: HistoryPage) -> bytes | None:
        if self.state in (State.CLOSING, State.CLOSED):
            # What waits is `stream:closing`, and the last word.
            return None
        if self._overran and page.cursor_status == "gap":
            self.close(CloseReason.HISTORY_LOST)
            return None
        notices = page.notices(self._position)
        if page.cursor_status == "reset":
            self._hub.metrics.resets += 1
        elif notices:
            self._hub.metrics.gaps += 1
        return notices + page.frames

    def _got(self, page: HistoryPage) -> None:
        """*page* was written."""
        self._move_to(page.end)
        self._events += len(page.events)
        self._hub.metrics.events_delivered += len(page.events)
        if page.is_last:
            self.complete()

    def _enters_another_epoch(self, page: HistoryPage) -> bool:
        """Whether the execution of *page* may be another organization's than the one that this
        viewer was admitted to (DELIVERY.md, rule 6)."""
        before = self._position or self._former
        if before is None or self.state in (State.CLOSING, State.CLOSED):
            return False
        if not page.events:
            return page.cursor_status == "reset"
        return any(one.id is not None and one.id.epoch != before.epoch for one in page.events)

    def _move_to(self, position: EventId | None) -> None:
        if position is None:
            # Else what comes next would look like a first history, to which it was admitted.
            self._former = self._position or self._former
        self._position = position

    async def _readmit(self, *, again: bool) -> None:
        """*again*: see `Ownership.admit`."""
        try:
            await self._hub.admit(self.principal, again=again)
        except RegistrationLost:
            self.close(CloseReason.STORAGE_LOST)
        except RequestRefused as refusal:
            self.close(CloseReason.UNAVAILABLE if refusal.temporary else CloseReason.REVOKED)

    def _collect(self) -> None:
        """Keep from now on the events without ids that come: history is about to be read."""
        self._without_ids, self._without_ids_bytes = [], 0
