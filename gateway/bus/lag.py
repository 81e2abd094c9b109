"""Measures how old events are when they reach their subscribers, by their own timestamps.

A timestamp is by the producer's clock, so a difference of the clocks is part of the result. Only a
few events a second are measured, since reading a timestamp means parsing the event again.
"""

import time
from collections.abc import Callable
from datetime import datetime

import orjson

from gateway.events import fields
from gateway.events.envelope import Envelope
from gateway.metrics import LagHistogram

INTERVAL = 0.1
"""Least seconds between two measured events."""

MAX_BYTES = 16 * 1024
"""A larger event is not measured: parsing it again would take as long as many deliveries."""


class LagSampler:
    """Measures some of the events that were delivered."""

    def __init__(self, lags: LagHistogram, clock: Callable[[], float] = time.time) -> None:
        """*clock*: seconds since the epoch."""
        self._lags = lags
        self._clock = clock
        self._measured_at = 0.0

    def delivered(self, envelope: Envelope) -> None:
        """*envelope* has just been handed to its subscribers."""
        now = self._clock()
        # Below 0 the clock was set back: without this nothing would be measured for as long.
        if 0 <= now - self._measured_at < INTERVAL:
            return
        self._measured_at = now
        published = _published_at(envelope.body)
        if published is not None:
            self._lags.observe(max(0.0, now - published))


def _published_at(body: bytes) -> float | None:
    """The timestamp in *body*, in seconds since the epoch; None if it has no readable one."""
    if len(body) > MAX_BYTES:
        return None
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        # Half a surrogate pair: browsers accept that, orjson does not.
        return None
    stamp = fields.time(document.get("timestamp"))
    return datetime.fromisoformat(stamp).timestamp() if stamp is not None else None
