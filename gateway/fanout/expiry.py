"""Ends each stream when its token expires, after a warning.

The wall clock decides, since that is what `exp` is written in (RFC 7519, section 4.1.4). It is
read again at every tick and no timer is set ahead, so a process that was suspended catches up at
its next tick, and a clock that is set forth and back closes no stream whose time has not come.

It does not decide whether a token is good: that is `gateway.access`.
"""

import math
import random
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from gateway.events.sse_encoder import CloseReason, expiring
from gateway.fanout.subscriber import Subscriber
from gateway.ticker import PERIOD, in_parts

WARNING_SECONDS = 60.0
"""How long before the end `stream:expiring` is sent, so that the page can get a new token."""

SPREAD_SECONDS = 3.0
"""Streams of tokens that expire together end over as many seconds, and come back apart."""


class Expiry:
    """The ends of all streams' tokens; `tick` is to be called every `PERIOD`."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """*clock* tells the seconds since the epoch."""
        self._clock = clock
        self._warnings = _Timetable()
        self._ends = _Timetable()

    def __len__(self) -> int:
        """How many streams are cared for."""
        return len(self._warnings) + len(self._ends)

    def add(self, subscriber: Subscriber) -> None:
        """Care for *subscriber*, whose `connected` is written, until `remove`."""
        expires_at = subscriber.principal.identity.expires_at
        self._warnings.put(subscriber, expires_at - WARNING_SECONDS)

    def remove(self, subscriber: Subscriber) -> None:
        """Forget *subscriber*; to be called when its stream is over, whatever has become of it."""
        self._warnings.discard(subscriber)
        self._ends.discard(subscriber)

    def tick(self) -> Coroutine[Any, Any, None] | None:
        """Warn and close whose time has come."""
        now = self._clock()
        warned, ended = self._warnings.due(now), self._ends.due(now)
        return self._work(now, warned, ended) if warned or ended else None

    async def _work(self, now: float, warned: list[Subscriber], ended: list[Subscriber]) -> None:
        await in_parts(warned, partial(self._warn, now))
        await in_parts(ended, self._end)

    def _warn(self, now: float, subscriber: Subscriber) -> None:
        if not self._warnings.discard(subscriber):
            # It has left since the tick began, and must not be put in again.
            return
        expires_at = subscriber.principal.identity.expires_at
        share = random.uniform(0, SPREAD_SECONDS)  # noqa: S311 - spreads load, guards nothing
        self._ends.put(subscriber, expires_at + share)
        # Nothing follows the end of a stream; and a token that lives by the leeway alone, or
        # expired while the process was suspended, is past any warning.
        if expires_at > now:
            subscriber.notify(expiring(expires_at, now))

    def _end(self, subscriber: Subscriber) -> None:
        if self._ends.discard(subscriber):
            subscriber.close(CloseReason.TOKEN_EXPIRED)


class _Timetable:
    """Who is due when, in buckets as long as a tick.

    Who leaves is taken out of its bucket, and the bucket goes with the last one: a heap would keep
    every stream that ever was until its token expires, which may be days later.
    """

    def __init__(self) -> None:
        self._buckets: dict[int, set[Subscriber]] = {}
        self._places: dict[Subscriber, int] = {}

    def __len__(self) -> int:
        return len(self._places)

    def put(self, subscriber: Subscriber, moment: float) -> None:
        """Make *subscriber* due at *moment* (seconds since the epoch), or up to a tick later."""
        place = math.ceil(moment / PERIOD)
        self._places[subscriber] = place
        self._buckets.setdefault(place, set()).add(subscriber)

    def discard(self, subscriber: Subscriber) -> bool:
        """Take *subscriber* out; False if it is not in."""
        place = self._places.pop(subscriber, None)
        if place is None:
            return False
        bucket = self._buckets[place]
        bucket.remove(subscriber)
        if not bucket:
            del self._buckets[place]
        return True

    def due(self, now: float) -> list[Subscriber]:
        """Who is due at *now*."""
        # All buckets are looked at, not only the next: a clock may jump, in either direction.
        places = [place for place in self._buckets if place * PERIOD <= now]
        return [subscriber for place in sorted(places) for subscriber in self._buckets[place]]
