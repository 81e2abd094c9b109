"""Which events are looked at for their age."""

from datetime import UTC, datetime

import orjson
import pytest

from gateway.bus.lag import INTERVAL, LagSampler
from gateway.events.envelope import Envelope, decode
from gateway.metrics import LagHistogram

NOW = 1_800_000_000.0


def published(at: float) -> Envelope:
    stamp = datetime.fromtimestamp(at, UTC).isoformat()
    return decode(orjson.dumps({"type": "step:started", "timestamp": stamp}))


def test_one_event_an_interval_is_measured() -> None:
    """One event an interval is looked at; its age is from its timestamp to now, and never less
    than nothing."""
    lags, clock = LagHistogram(), [NOW]
    sampler = LagSampler(lags, lambda: clock[0])
    sampler.delivered(published(NOW - 3))
    sampler.delivered(published(NOW - 500))
    clock[0] += 1.5 * INTERVAL
    sampler.delivered(published(NOW + 500))
    assert sum(lags.counts) == 2
    assert lags.sum == pytest.approx(3)


def test_a_clock_set_back_does_not_stop_it() -> None:
    """A clock that is set back by an hour does not end the measuring for an hour."""
    lags, clock = LagHistogram(), [NOW]
    sampler = LagSampler(lags, lambda: clock[0])
    sampler.delivered(published(NOW))
    clock[0] -= 3600
    sampler.delivered(published(NOW - 3600))
    assert sum(lags.counts) == 2
