"""What a load test was like from second to second. Pure: whoever calls `close` says when."""

from dataclasses import dataclass

from gateway.tools.loadtest.latencies import Latencies


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
    """Streams that came back within the interval."""


class Timeline:
    """Collects what happens until the interval is closed, and keeps the samples."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self.total = Latencies()
        self._now = Latencies()
        self._events = 0
        self._reconnects = 0
        self._begun = 0.0

    def event(self, latency_ns: int | None) -> None:
        """An event reached a tab; None for one that it was replayed."""
        self._events += 1
        if latency_ns is not None:
            self._now.note(latency_ns)

    def reconnect(self) -> None:
        """A stream came back."""
        self._reconnects += 1

    def close(self, seconds: float, open_tabs: int) -> Sample:
        """End the interval at *seconds* after the beginning of the run."""
        length = max(seconds - self._begun, 1e-9)
        sample = Sample(
            seconds=round(seconds, 3),
            open_tabs=open_tabs,
            events_per_second=round(self._events / length, 1),
            p50_ms=round(self._now.percentile_ms(0.5), 3),
            p95_ms=round(self._now.percentile_ms(0.95), 3),
            p99_ms=round(self._now.percentile_ms(0.99), 3),
            reconnects=self._reconnects,
        )
        self.samples.append(sample)
        self.total.add(self._now)
        self._now, self._events, self._reconnects = Latencies(), 0, 0
        self._begun = seconds
        return sample
