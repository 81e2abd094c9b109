"""What the gateway counts about itself; `gateway.admin.exposition` shows it.

Plain integers: a labelled Prometheus counter on the path of every event would cost more than the
delivery that it counts.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

LAG_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds: the upper bounds of the buckets of every lag histogram."""


class Histogram:
    """How many values fell into each bucket, and their sum."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float] = LAG_BOUNDS) -> None:
        """*bounds*: the largest value of each bucket, ascending; one more has the rest."""
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count *value*."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


@dataclass(slots=True)
class Metrics:
    """Totals since the process started: every field only grows."""

    streams_opened: int = 0
    streams_closed: Counter[str] = field(default_factory=Counter)
    """By reason: `completed`, `gone` (the reader left), or a close reason."""
    events_received: int = 0
    """Events read from the subscription, with or without subscribers."""
    events_delivered: int = 0
    """Events given to subscribers: one event to three subscribers counts three."""
    events_recorded: int = 0
    """Bare events that were recorded in history, by this gateway or another one."""
    bytes_delivered: int = 0
    """Bytes written to the bodies of streams that have ended."""
    events_dropped: Counter[str] = field(default_factory=Counter)
    """Messages that are not events, by where they were dropped."""
    history_reads: int = 0
    """Pages of history read from Redis; one read may serve thousands of streams."""
    gaps: int = 0
    """`stream:gap` sent: history no longer has what the reader asked for."""
    resets: int = 0
    """`stream:reset` sent: the reader's cursor was of another epoch."""
    queue_overruns: int = 0
    """Times that a subscriber's queue was full, so that it catches up from history."""
    feed_connections: int = 0
    """Confirmed subscriptions; every one after the first is a reconnect."""
    refusals: Counter[str] = field(default_factory=Counter)
    """Refused requests by error code."""
    polls_cut: Counter[str] = field(default_factory=Counter)
    """Polls cut off while the answer was written, by reason."""
    feed_lag: Histogram = field(default_factory=Histogram)
    """Seconds from an event's timestamp to its subscribers' sockets, of a sample of events."""
    loop_lag: Histogram = field(default_factory=Histogram)
    """Seconds by which the event loop was late."""
