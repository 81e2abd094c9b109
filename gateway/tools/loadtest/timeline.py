"""The figures of a load test over time. Pure: the caller of `close` gives the time."""

import math
from collections import Counter
from dataclasses import dataclass


class Latencies:
    """Counts of durations in buckets that are 1 % apart."""

    _STEP = math.log(1.01)

    def __init__(self) -> None:
        self.count = 0
        self._max_ns = 0
        self._buckets: Counter[int] = Counter()

    def note(self, ns: int) -> None:
        """Add one duration in nanoseconds."""
        self.count += 1
        self._max_ns = max(self._max_ns, ns)
        self._buckets[math.ceil(math.log(max(ns, 1)) / self._STEP)] += 1

    def add(self, other: "Latencies") -> None:
        """Add all that *other* has counted."""
        self.count += other.count
        self._max_ns = max(self._max_ns, other._max_ns)
        self._buckets.update(other._buckets)

    def percentile_ms(self, share: float) -> float:
        """The duration in ms that *share* (0 to 1) of all do not exceed, within 1 %."""
        left = math.ceil(share * self.count)
        for bucket in sorted(self._buckets):
            left -= self._buckets[bucket]
            if left <= 0:
                return min(math.exp(bucket * self._STEP), self._max_ns) / 1e6
        return 0.0

    def percentiles(self) -> dict[str, float]:
        """`p50`, `p95` and `p99`, in ms."""
        shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
        return {name: round(self.percentile_ms(share), 3) for name, share in shares.items()}

    def summary(self) -> dict[str, float]:
        """`p50`, `p95`, `p99` and `max`, in ms."""
        return {**self.percentiles(), "max": round(self._max_ns / 1e6, 3)}

    def histogram(self, bars: int) -> list[tuple[float, int]]:
        """At most *bars* bars of equal width on a logarithmic scale: upper end in ms, count."""
        if not self._buckets:
            return []
        first, last = min(self._buckets), max(self._buckets)
        width = max(1, math.ceil((last - first + 1) / bars))
        counts: Counter[int] = Counter()
        for bucket, count in self._buckets.items():
            counts[(bucket - first) // width] += count
        return [
            (math.exp((first + (bar + 1) * width) * self._STEP) / 1e6, counts[bar])
            for bar in range((last - first) // width + 1)
        ]


@dataclass(frozen=True, slots=True)
class Sample:
    """One interval of a run."""

    seconds: float
    """From the beginning of the run to the end of the interval."""
    open_tabs: int
    events_per_second: float
    """That reached tabs, replayed ones included."""
    p50_ms: float
    p95_ms: float
    p99_ms: float
    reconnects: int
    """Streams that reconnected within the interval."""


class Timeline:
    """Counts what happens until the interval is closed, and keeps the samples."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self.total = Latencies()
        self._now = Latencies()
        self._events = 0
        self._reconnects = 0
        self._start = 0.0

    def event(self, latency_ns: int | None) -> None:
        """An event reached a tab; None if it was replayed."""
        self._events += 1
        if latency_ns is not None:
            self._now.note(latency_ns)

    def reconnect(self) -> None:
        """A stream reconnected."""
        self._reconnects += 1

    def close(self, seconds: float, open_tabs: int) -> Sample:
        """End the interval, *seconds* after the beginning of the run."""
        length = max(seconds - self._start, 1e-9)
        sample = Sample(
            seconds=round(seconds, 3),
            open_tabs=open_tabs,
            events_per_second=round(self._events / length, 1),
            reconnects=self._reconnects,
            **{f"{name}_ms": value for name, value in self._now.percentiles().items()},
        )
        self.samples.append(sample)
        self.total.add(self._now)
        self._now, self._events, self._reconnects = Latencies(), 0, 0
        self._start = seconds
        return sample
