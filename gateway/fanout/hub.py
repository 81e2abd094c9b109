"""The hub: the logs of all watched executions, and all open streams.

`publish` never awaits, so no reader delays another. It knows neither Redis nor HTTP: batches come
in, pages are asked for, subscribers are given out.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from gateway.errors import LimitReached, Unavailable
from gateway.events.batch import EventBatch
from gateway.events.history_page import HistoryPage
from gateway.events.ids import EventId
from gateway.events.sse_encoder import CloseReason
from gateway.fanout.kept import KeptBound
from gateway.fanout.log import Log
from gateway.fanout.reads import Reads
from gateway.fanout.stalls import StallWatch
from gateway.fanout.state import Permit
from gateway.fanout.subscriber import Subscriber
from gateway.log import RateLimitedLog
from gateway.metrics import Metrics
from gateway.principal import Principal

T = TypeVar("T")

logger = logging.getLogger(__name__)

_LOG_SECONDS = 60.0
"""Seconds between two lines about streams that are refused, or that miss something."""


@dataclass(frozen=True, slots=True)
class QueueBounds:
    """Most events and bytes that may wait for one subscriber."""

    events: int
    bytes: int


class Pages(Protocol):
    """Where histories are read; see `gateway.bus.pages`. Both raise RedisUnavailable."""

    async def page(
        self,
        execution_id: str,
        cursor: EventId | None,
        *,
        only_valid: bool = False,
        organization_id: str = "",
    ) -> HistoryPage:
        """What follows *cursor*, as far as one page goes. With *only_valid* nothing is read for a
        cursor that is not valid: the page says `reset`, and nothing else. With *organization_id* it
        raises ExecutionNotFound unless the execution is that one's."""

    async def first(self, execution_id: str) -> EventId | None:
        """The first id that history keeps."""


class Admit(Protocol):
    """`gateway.access.policy.Policy.admit`."""

    async def __call__(self, principal: Principal, /, *, again: bool) -> None:
        """See there."""


class Hub:
    """All subscribers of this process, by execution id."""

    def __init__(
        self,
        pages: Pages,
        bounds: QueueBounds,
        metrics: Metrics,
        *,
        stalls: StallWatch,
        kept_bytes: int = 64 * 1024 * 1024,
        max_subscribers: int = 0,
    ) -> None:
        """*kept_bytes*: most bytes of events that all logs keep for readers that come back."""
        self.pages = pages
        self.bounds = bounds
        self.metrics = metrics
        self.stalls = stalls
        self.kept = KeptBound(kept_bytes)
        self.reads = Reads(self)
        self.max_subscribers = max_subscribers
        """Most streams at once; 0 for no limit of its own."""
        self.admit: Admit = _admit_everybody
        """Raises RequestRefused for a viewer who may not see the execution (any more)."""
        self.on_left: Callable[[Subscriber], None] = lambda _: None
        """Called with each subscriber whose stream is over."""
        self.session = 0
        """Counts the subscriptions that were confirmed."""
        self.draining = False
        """Whether the gateway is about to stop: no new subscriber is taken."""
        self._logs: dict[str, Log] = {}
        self._count = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._crowd, self._missed = RateLimitedLog(_LOG_SECONDS), RateLimitedLog(_LOG_SECONDS)
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Subscriber]:
        """All subscribers, as they were when the loop over them began."""
        return iter([one for log in self._logs.values() for one in log.streams])

    async def empty(self) -> None:
        """Wait until there is no subscriber."""
        await self._empty.wait()

    def watches(self, execution_id: str) -> bool:
        """Whether its events are needed here."""
        return execution_id in self._logs

    def look_again(self, execution_id: str) -> None:
        """Somebody says that it was forgotten: nothing that is known of it counts any more."""
        if (log := self._logs.get(execution_id)) is not None:
            log.start_over()

    @property
    def executions(self) -> list[str]:
        """Those whose events are needed here."""
        return list(self._logs)

    def add(self, principal: Principal, cursor: EventId | None, permit: Permit) -> Subscriber:
        """A new subscriber of *viewer*'s execution, until it leaves: what is published from now on
        is not missed. *permit* is given back at its end.

        Raises:
            LimitReached: there are as many subscribers as the settings allow.
            Unavailable: the gateway is about to stop.
        """
        if self.draining:
            raise Unavailable("This gateway is restarting; try again in a few seconds.")
        if self.max_subscribers and self._count >= self.max_subscribers:
            if (held_back := self._crowd.due()) is not None:
                logger.warning(
                    "A stream is refused: %d are open, the most that max_connections and the limit "
                    "of open files allow (%d more since the last line).",
                    self._count,
                    held_back,
                )
            raise LimitReached("This gateway has as many streams open as it may; try again later.")
        log = self._logs.get(principal.execution_id)
        if log is None:
            log = self._logs[principal.execution_id] = Log(principal.execution_id, self)
        subscriber = Subscriber(principal, cursor, log, permit)
        self._count += 1
        self._empty.clear()
        return subscriber

    def remove(self, subscriber: Subscriber) -> None:
        """Called by *subscriber* when its stream is over."""
        subscriber.log.streams.remove(subscriber)
        self.forget_if_idle(subscriber.log)
        self.on_left(subscriber)
        self._count -= 1
        if not self._count:
            self._empty.set()

    def forget_if_idle(self, log: Log) -> None:
        """Called by *log* when it may not be needed any more."""
        if log.is_idle:
            self._logs.pop(log.execution_id, None)

    def publish(self, execution_id: str, batch: EventBatch, recorded_here: bool = False) -> None:
        """Write *batch* to every subscriber of the execution that it follows for; *recorded_here*:
        its ids are of our own recording."""
        if (log := self._logs.get(execution_id)) is not None:
            log.publish(batch, recorded_here)

    def subscribed(self) -> None:
        """A new subscription was confirmed: between it and the last one anything may have come."""
        self.session += 1
        for log in list(self._logs.values()):
            log.doubt()

    def audit(self, execution_id: str, last: EventId | None, session: int) -> None:
        """Compare with the *last* id of history, asked for in *session*."""
        if (log := self._logs.get(execution_id)) is not None:
            log.audit(last, session)

    def missed(self, execution_id: str, events: int) -> None:
        """So many *events* without ids came for a stream that had no room for them while it read
        history, where they are not."""
        self.metrics.events_dropped["catching_up"] += events
        self._missed.warning(
            logger,
            "A stream of %s misses %d events without ids: while it read history, more of them came "
            "than queue_bytes allows.",
            execution_id,
            events,
        )

    def spawn(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Run *work* until it ends or the hub stops."""
        task = asyncio.get_running_loop().create_task(work)
        # Without a reference it could be collected in mid-run.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def drain(self, seconds: float) -> None:
        """Take no new subscribers and close all with `drain`, evenly spread over *seconds*."""
        self.draining = True
        subscribers = list(self)
        random.shuffle(subscribers)
        loop = asyncio.get_running_loop()
        start = loop.time()
        for index, subscriber in enumerate(subscribers):
            due = start + seconds * index / len(subscribers)
            if (wait := due - loop.time()) > 0:
                await asyncio.sleep(wait)
            subscriber.close(CloseReason.DRAIN)

    async def cut(self) -> None:
        """Cut the subscribers that are left, and wait until they are gone.

        For readers who have not taken their last bytes; a stream that is just being opened is
        ended by its handler, and waited for too.
        """
        for subscriber in self:
            subscriber.abort()
        await self._empty.wait()

    async def stop(self) -> None:
        """Give up the reads under way."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _admit_everybody(_: Principal, *, again: bool) -> None:
    """Nobody decides."""
