"""The hub: the logs of all watched executions, and all open streams.

`publish` never awaits, so no reader delays another. It knows neither Redis nor HTTP: batches come
in, pages are asked for, subscribers are given out.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from gateway.errors import LimitReached, Unavailable
from gateway.events.batch import EventBatch
from gateway.events.history_page import HistoryPage
from gateway.events.ids import EventId
from gateway.events.sse_encoder import CloseReason
from gateway.fanout.catch_up import Reads
from gateway.fanout.kept import KeptBound
from gateway.fanout.log import Log
from gateway.fanout.stalls import StallWatch
from gateway.fanout.state import Permit
from gateway.fanout.stream import Stream
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
    """Where histories are read; see `gateway.bus.pages`."""

    async def page(
        self,
        execution_id: str,
        cursor: EventId | None,
        *,
        only_valid: bool = False,
        organization_id: str = "",
    ) -> HistoryPage:
        """What follows *cursor*, as far as one page goes. With *only_valid* nothing is read for a
        cursor that is not valid: the page says `reset`, and which id is the first that is kept.
        *organization_id*: the one that must own the execution.

        Raises:
            ExecutionNotFound: it does not.
            RedisUnavailable: Redis could not be asked.
        """


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
        kept_bytes: int,
        max_subscribers: int,
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
        """Raises RequestRefused for a principal who may not watch the execution (any more)."""
        self.on_left: Callable[[Stream], None] = lambda _: None
        """Called with each stream that is over."""
        self.on_watching: Callable[[str], None] = lambda _: None
        """Called with an execution of which `watching` may be another number now."""
        self.on_watched: Callable[[str], None] = lambda _: None
        self.on_unwatched: Callable[[str], None] = lambda _: None
        """Called with an execution whose events are needed from now on, and no more."""
        self.session = 0
        """Counts the subscriptions that were confirmed, of all executions or of some."""
        self.draining = False
        """No new subscriber is taken: the gateway is about to stop."""
        self._logs: dict[str, Log] = {}
        self._composites: set[Stream] = set()
        """Streams of several executions."""
        self._count = self._weight = 0
        """How many streams there are, and as how many they count."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._crowd, self._missed = RateLimitedLog(_LOG_SECONDS), RateLimitedLog(_LOG_SECONDS)
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Stream]:
        """All streams, as they were when the loop over them began."""
        single = [one for log in self._logs.values() for one in log.streams if not one.is_internal]
        return iter([*single, *self._composites])

    async def empty(self) -> None:
        """Wait until there is no subscriber."""
        await self._empty.wait()

    def watches(self, execution_id: str) -> bool:
        """Whether its events are needed here."""
        return execution_id in self._logs

    def watching(self, execution_id: str) -> int:
        """How many streams of the execution are open here."""
        log = self._logs.get(execution_id)
        return log.streams.watching if log is not None else 0

    def start_over(self, execution_id: str) -> None:
        """Somebody says that it was forgotten: nothing that is known of it counts any more."""
        if (log := self._logs.get(execution_id)) is not None:
            log.start_over()

    @property
    def executions(self) -> list[str]:
        """Those whose events are needed here."""
        return list(self._logs)

    def add(self, principal: Principal, cursor: EventId | None, permit: Permit) -> Subscriber:
        """A new subscriber of *principal*'s execution, until it leaves: it misses nothing that is
        published from now on. *permit* is given back at its end.

        Raises:
            LimitReached: there are as many subscribers as the settings allow.
            Unavailable: the gateway is about to stop.
        """
        self._refuse_crowd(1)
        subscriber = Subscriber(principal, cursor, self.log_of(principal.execution_id), permit)
        self._entered(subscriber)
        return subscriber

    def add_composite(self, stream: Stream) -> None:
        """Count *stream*, which shows several executions, until it leaves.

        Raises:
            LimitReached, Unavailable: as `add`; the permit of *stream* must still be given back.
        """
        self._refuse_crowd(stream.weight)
        self._composites.add(stream)
        self._entered(stream)

    def _refuse_crowd(self, streams: int) -> None:
        if self.draining:
            raise Unavailable("This gateway is restarting; try again in a few seconds.")
        if self.max_subscribers and self._weight + streams > self.max_subscribers:
            if (held_back := self._crowd.due()) is not None:
                logger.warning(
                    "A stream is refused: %d are open, the most that max_connections and the limit "
                    "of open files allow (%d more since the last line).",
                    self._weight,
                    held_back,
                )
            raise LimitReached(
                "This gateway has reached its limit of open streams; try again later."
            )

    def _entered(self, stream: Stream) -> None:
        self._count += 1
        self._weight += stream.weight
        self._empty.clear()

    def log_of(self, execution_id: str) -> Log:
        """The log of an execution that is about to be followed."""
        log = self._logs.get(execution_id)
        if log is None:
            log = self._logs[execution_id] = Log(execution_id, self)
            self.on_watched(execution_id)
        self.on_watching(execution_id)
        return log

    def remove(self, stream: Stream) -> None:
        """Called by *stream* when it is over."""
        if isinstance(stream, Subscriber):
            stream.log.streams.remove(stream)
            self.on_watching(stream.execution_id)
            self.forget_if_idle(stream.log)
        self._composites.discard(stream)
        if stream.is_internal:
            return
        self.on_left(stream)
        self._count -= 1
        self._weight -= stream.weight
        if not self._count:
            self._empty.set()

    def forget_if_idle(self, log: Log) -> None:
        """Called by *log* when it may not be needed any more."""
        if log.is_idle and self._logs.get(log.execution_id) is log:
            del self._logs[log.execution_id]
            self.on_unwatched(log.execution_id)

    def publish(
        self, execution_id: str, batch: EventBatch, *, is_first_known: bool = False
    ) -> None:
        """Write *batch* to every subscriber of the execution that it follows for. If history was
        empty, it begins with the batch, as is certain if *is_first_known*; else it is asked."""
        if (log := self._logs.get(execution_id)) is not None:
            log.publish(batch, is_first_known)

    def subscribed(self, execution_ids: Iterable[str] | None = None) -> None:
        """A new subscription to these was confirmed (None: to all): between it and the last one
        anything may have come."""
        self.session += 1
        asked = self.executions if execution_ids is None else execution_ids
        for log in [self._logs[one] for one in asked if one in self._logs]:
            log.subscribed(self.session)

    def audit(self, execution_id: str, last: EventId | None, session: int) -> bool:
        """Compare with the *last* id of history, asked for in *session*; whether something was
        missed that nobody knew of."""
        log = self._logs.get(execution_id)
        return log is not None and log.audit(last, session)

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
