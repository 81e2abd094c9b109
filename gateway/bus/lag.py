"""How old events are when they have reached their subscribers, by their own timestamps.

The timestamp is of the producer's clock: where that differs from ours, so does what is measured.
Only a few events a second are looked at, since to read a timestamp is to parse the event again.
"""

import time
from collections.abc import Callable
from datetime import datetime

import orjson
from prometheus_client import Histogram

from gateway.events import fields
from gateway.events.envelope import Envelope

INTERVAL = 0.1
"""Least seconds between two events that are looked at."""

MAX_BYTES = 16 * 1024
"""A larger event is not looked at: to parse it again would take as long as many deliveries."""


class LagSampler:
    """Looks at some of the events that were delivered."""

    def __init__(self, lags: Histogram, clock: Callable[[], float] = time.time) -> None:
        """*clock*: seconds since the epoch."""
        self._lags = lags
        self._clock = clock
        self._looked_at = 0.0

    def delivered(self, envelope: Envelope) -> None:
        """*envelope* has just been handed to its subscribers."""
        now = self._clock()
        # A clock that was set back would else stop this for as long.
        if 0 <= now - self._looked_at < INTERVAL:
            return
        self._looked_at = now
        published = _published_at(envelope.body)
        if published is not None:
            self._lags.observe(max(0.0, now - published))


def _published_at(body: bytes) -> float | None:
    """The timestamp in *body*, in seconds since the epoch; None if it has none that can be read."""
    if len(body) > MAX_BYTES:
        return None
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        # Half a surrogate pair: fit for browsers, and not for orjson.
        return None
    stamp = fields.time(document.get("timestamp"))
    return datetime.fromisoformat(stamp).timestamp() if stamp is not None else None
