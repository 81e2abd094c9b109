"""Brings a held subscriber back to live: from history to its socket, page by page.

One path for the first replay, a reconnect, a hole, a slow reader and a Redis that failed over.
Which events those are is decided by `gateway.bus.replay` and `gateway.events.history_page`; here
they are written, in order, and the reader is told what history could not give.
"""

import asyncio
import random
from dataclasses import dataclass
from typing import Protocol

from gateway.bus.replay import Replay
from gateway.errors import RedisUnavailable, RequestRefused
from gateway.events.history_page import HistoryPage
from gateway.events.sse_encoder import CloseReason, jittered_retry_ms
from gateway.fanout.subscriber import Subscriber
from gateway.metrics import Metrics
from gateway.principal import Principal

_PAUSE = (0.1, 0.5)
"""Seconds between two tries to read while Redis is away, drawn anew each time."""


class Admit(Protocol):
    """`Policy.admit`."""

    async def __call__(self, principal: Principal, *, again: bool) -> None:
        """See there."""


class Writer(Protocol):
    """Where the pages go."""

    async def write(self, data: bytes) -> None:
        """Write *data* and wait until it is taken; raises ConnectionResetError."""


@dataclass(frozen=True, slots=True)
class CatchUp:
    """Writes what held subscribers have missed."""

    replay: Replay
    admit: Admit
    """Raises RequestRefused for a viewer who may not see the execution (any more)."""
    metrics: Metrics

    async def run(self, subscriber: Subscriber, outlet: Writer) -> None:
        """Catch up until *subscriber* is live or has ended.

        Raises:
            ConnectionResetError: the reader has gone.
        """
        self.metrics.queue_overruns += subscriber.overrun
        while subscriber.held and subscriber.ended is None:
            # In a function that returns: a stream holds one page at a time, not two.
            await self._go_on(subscriber, outlet)

    async def _go_on(self, subscriber: Subscriber, outlet: Writer) -> None:
        """One page further."""
        subscriber.collect()
        try:
            stretch = await self.replay.after(subscriber.execution_id, subscriber.position)
        except RedisUnavailable:
            # The heartbeats go on meanwhile: the reader must not take us for dead.
            if waiting := subscriber.take():
                await outlet.write(waiting)
            await asyncio.sleep(random.uniform(*_PAUSE))  # noqa: S311 - spreads load
            return
        if data := await self.page(subscriber, stretch):
            await outlet.write(data)
        self.settle(subscriber, stretch)

    async def page(
        self, subscriber: Subscriber, stretch: HistoryPage, *, again: bool = True
    ) -> bytes:
        """What of *stretch* must be written; `settle` is to follow when it was. *again*: see
        `Ownership.admit`; not for the first page of a stream, which was admitted just now."""
        if not await self._may_go_on(subscriber, stretch, again) or subscriber.ended is not None:
            # Closed while history was read: what waits is `stream:closing`, and the last word.
            return b""
        now = asyncio.get_running_loop().time()
        if stretch.cursor_status == "gap" and subscriber.overrun:
            subscriber.close(CloseReason.HISTORY_LOST, jittered_retry_ms(), now)
            return b""
        notices = self._notices(subscriber, stretch)
        # What waits was taken in before this was read, and must not come after it: a release that
        # ran into a hole has queued all up to the hole.
        data = [subscriber.take(), notices, *(event.frame for event in stretch.events)]
        if stretch.cursor_status == "reset":
            subscriber.position = None
        if stretch.events:
            subscriber.position = stretch.events[-1].id
            subscriber.delivered += len(stretch.events)
            self.metrics.events_delivered += len(stretch.events)
        subscriber.last_activity = now
        return b"".join(data)

    def settle(self, subscriber: Subscriber, stretch: HistoryPage) -> None:
        """*stretch* was written: live again if it reached the end of history."""
        if subscriber.ended is not None:
            return
        if stretch.is_last:
            subscriber.complete()
        elif not stretch.more:
            now = asyncio.get_running_loop().time()
            self.metrics.events_delivered += subscriber.release(now)

    def _notices(self, subscriber: Subscriber, stretch: HistoryPage) -> bytes:
        notices = stretch.notices(subscriber.position)
        if stretch.cursor_status == "reset":
            self.metrics.resets += 1
        elif notices:
            self.metrics.gaps += 1
        return notices

    async def _may_go_on(self, subscriber: Subscriber, stretch: HistoryPage, again: bool) -> bool:
        """In a new life the execution may be another organization's: asked again before it is
        shown (DELIVERY.md, rule 6)."""
        before = subscriber.position
        after = stretch.events[-1].id if stretch.events else None
        if before is None or (after is not None and after.epoch == before.epoch):
            return True
        if after is None and stretch.cursor_status != "reset":
            return True
        try:
            await self.admit(subscriber.principal, again=again)
        except RequestRefused as refusal:
            reason = CloseReason.UNAVAILABLE if refusal.temporary else CloseReason.REVOKED
            now = asyncio.get_running_loop().time()
            subscriber.close(reason, jittered_retry_ms(), now)
            return False
        return True
