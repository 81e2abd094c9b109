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
from gateway.fanout.stream import Stream
from gateway.ticker import in_parts

WARNING_SECONDS = 60.0
"""How long before the end `stream:expiring` is sent, so that the page can get a new token."""

SPREAD_SECONDS = 3.0
"""Streams of tokens that expire together end over as many seconds, and come back apart."""


class Expiry:
    """The ends of all streams' tokens; `tick` is to be called every `PERIOD`."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """*clock* tells the seconds since the epoch."""
        self._clock = clock
        self._due: dict[Stream, float] = {}
        """When each is warned, and after that, when it ends. Who leaves is taken out: a heap would
        keep every stream that ever was until its token expires, which may be days later."""
        self._earliest = math.inf
        """Before this moment nobody is due."""

    def __len__(self) -> int:
        """How many streams are cared for."""
        return len(self._due)

    def add(self, subscriber: Stream) -> None:
        """Care for *subscriber*, whose `connected` is written, until `remove`."""
        self._put(subscriber, subscriber.principal.identity.expires_at - WARNING_SECONDS)

    def remove(self, subscriber: Stream) -> None:
        """Forget *subscriber*; to be called when its stream is over, whatever has become of it."""
        self._due.pop(subscriber, None)

    def tick(self) -> Coroutine[Any, Any, None] | None:
        """Warn and close whose time has come."""
        now = self._clock()
        if now < self._earliest:
            return None
        due = [subscriber for subscriber, moment in self._due.items() if moment <= now]
        self._earliest = min((one for one in self._due.values() if one > now), default=math.inf)
        return in_parts(due, partial(self._visit, now)) if due else None

    def _visit(self, now: float, subscriber: Stream) -> None:
        moment = self._due.pop(subscriber, None)
        if moment is None:
            # It has left since the tick began, and must not be put in again.
            return
        expires_at = subscriber.principal.identity.expires_at
        if moment >= expires_at:
            subscriber.close(CloseReason.TOKEN_EXPIRED)
            return
        share = random.uniform(0, SPREAD_SECONDS)  # noqa: S311 - spreads load, guards nothing
        self._put(subscriber, expires_at + share)
        # Nothing follows the end of a stream; and a token that lives by the leeway alone, or
        # expired while the process was suspended, is past any warning.
        if expires_at > now:
            subscriber.notify(expiring(expires_at, now))

    def _put(self, subscriber: Stream, moment: float) -> None:
        self._due[subscriber] = moment
        self._earliest = min(self._earliest, moment)
