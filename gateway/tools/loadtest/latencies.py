"""Durations counted in buckets, so that a long run needs no more memory than a short one. Pure."""

import math
from collections import Counter


class Latencies:
    """Counts of durations in buckets a hundredth apart."""

    _STEP = math.log(1.01)

    def __init__(self) -> None:
        self.count = 0
        self._max_ns = 0
        self._buckets: Counter[int] = Counter()

    def note(self, ns: int) -> None:
        """Enter one duration in nanoseconds."""
        self.count += 1
        self._max_ns = max(self._max_ns, ns)
        self._buckets[math.ceil(math.log(max(ns, 1)) / self._STEP)] += 1

    def add(self, other: "Latencies") -> None:
        """Enter all that *other* has counted."""
        self.count += other.count
        self._max_ns = max(self._max_ns, other._max_ns)
        self._buckets.update(other._buckets)

    def percentile_ms(self, share: float) -> float:
        """The duration that *share* (0 to 1) of all do not exceed, in ms, to one hundredth."""
        left = math.ceil(share * self.count)
        for bucket in sorted(self._buckets):
            left -= self._buckets[bucket]
            if left <= 0:
                return min(math.exp(bucket * self._STEP), self._max_ns) / 1e6
        return 0.0

    def summary(self) -> dict[str, float]:
        """`p50`, `p95`, `p99` and `max`, in ms."""
        shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
        found = {name: round(self.percentile_ms(share), 3) for name, share in shares.items()}
        return {**found, "max": round(self._max_ns / 1e6, 3)}

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
            (math.exp((first + (place + 1) * width) * self._STEP) / 1e6, counts[place])
            for place in range((last - first) // width + 1)
        ]
