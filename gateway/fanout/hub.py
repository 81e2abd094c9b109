"""The hub: which subscribers watch which execution, and every event to all of them.

`publish` never awaits, so no reader delays another, and one broken subscriber is only ever its
own. It knows neither Redis nor HTTP: events come in as bursts, subscribers are given out.
"""

import asyncio
import logging
import random
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.errors import LimitReached, Unavailable
from gateway.events.batch import EventBatch
from gateway.events.ids import EventId
from gateway.events.sse_encoder import CloseReason, jittered_retry_ms
from gateway.fanout.subscriber import Subscriber
from gateway.log import RateLimitedLog
from gateway.metrics import Metrics
from gateway.principal import Principal

log = logging.getLogger(__name__)

_LOG_SECONDS = 60.0
"""Seconds between two lines about streams that are refused."""


@dataclass(frozen=True, slots=True)
class QueueBounds:
    """Most events and bytes that may wait for one subscriber."""

    events: int
    bytes: int


class Hub:
    """All subscribers of this process, by execution id."""

    def __init__(self, bounds: QueueBounds, metrics: Metrics, max_subscribers: int = 0) -> None:
        self._bounds = bounds
        self._metrics = metrics
        self.max_subscribers = max_subscribers
        """Most streams at once; 0 for no limit of its own."""
        self._topics: dict[str, dict[Subscriber, None]] = {}
        self._count = 0
        self.draining = False
        """Whether the gateway is about to stop: no new subscriber is taken."""
        self._crowd = RateLimitedLog(_LOG_SECONDS)
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Subscriber]:
        """All subscribers, as they were when the loop over them began."""
        return iter([one for topic in self._topics.values() for one in topic])

    async def empty(self) -> None:
        """Wait until there is no subscriber."""
        await self._empty.wait()

    def watches(self, execution_id: str) -> bool:
        """Whether anybody watches this execution."""
        return execution_id in self._topics

    def add(self, principal: Principal) -> Subscriber:
        """A new subscriber of *viewer*'s execution, until `remove`.

        Raises:
            LimitReached: there are as many subscribers as the settings allow.
            Unavailable: the gateway is about to stop.
        """
        if self.draining:
            raise Unavailable("This gateway is restarting; try again in a few seconds.")
        if self.max_subscribers and self._count >= self.max_subscribers:
            if (held_back := self._crowd.due()) is not None:
                log.warning(
                    "A stream is refused: %d are open, the most that max_connections and the limit "
                    "of open files allow (%d more since the last line).",
                    self._count,
                    held_back,
                )
            raise LimitReached("This gateway has as many streams open as it may; try again later.")
        subscriber = Subscriber(
            principal,
            max_events=self._bounds.events,
            max_bytes=self._bounds.bytes,
            now=asyncio.get_running_loop().time(),
        )
        self._topics.setdefault(subscriber.execution_id, {})[subscriber] = None
        self._count += 1
        self._empty.clear()
        return subscriber

    def remove(self, subscriber: Subscriber) -> None:
        """Take *subscriber* out: its stream is over, and nothing is offered to it any more."""
        subscriber.left = True
        topic = self._topics[subscriber.execution_id]
        del topic[subscriber]
        if not topic:
            del self._topics[subscriber.execution_id]
        self._count -= 1
        if not self._count:
            self._empty.set()

    def publish(self, execution_id: str, burst: EventBatch) -> None:
        """Offer *burst* to every subscriber of the execution."""
        topic = self._topics.get(execution_id)
        if topic is None:
            return
        now = asyncio.get_running_loop().time()
        taken = 0
        for subscriber in topic:
            try:
                taken += subscriber.offer(burst, now)
            except Exception:
                log.exception("A subscriber of %s failed and is closed.", execution_id)
                subscriber.close(CloseReason.UNAVAILABLE, jittered_retry_ms(), now)
        self._metrics.events_delivered += taken

    def audit(self, execution_id: str, last: EventId | None) -> bool:
        """Compare its subscribers with the *last* id of history; True if one missed something."""
        topic = self._topics.get(execution_id, ())
        return bool([one for one in topic if one.audit(last)])

    @property
    def executions(self) -> list[str]:
        """The executions that somebody watches."""
        return list(self._topics)

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
            subscriber.close(CloseReason.DRAIN, jittered_retry_ms(), loop.time())

    async def cut(self) -> None:
        """End whoever is still there without a word, and wait until they are gone.

        For readers who have not taken their last bytes; a stream that is just being opened is
        ended by whoever opens it, and waited for too.
        """
        for subscriber in self:
            subscriber.abort()
        await self._empty.wait()
