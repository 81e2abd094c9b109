"""What the gateway counts about itself; `gateway.admin.exposition` shows it.

Counters are plain integers, because they are touched for every event: a labelled Prometheus counter
costs more there than the delivery that it counts.
"""

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field

PREFIX = "sse_gateway_"

LAG_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds: the upper bounds of the buckets of every lag histogram."""


class LagHistogram:
    """Lags by the bounds that they are within."""

    def __init__(self) -> None:
        self.counts = [0] * (len(LAG_BOUNDS) + 1)
        """Of lags above the bound before and up to the one at the same place; last, above all."""
        self.sum = 0.0
        """Seconds, of all lags together."""

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(LAG_BOUNDS, seconds)] += 1
        self.sum += seconds


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
    events_edited: Counter[str] = field(default_factory=Counter)
    """Events that were not passed on as they were published, by what was done."""
    history_reads: int = 0
    """Pages of history read from Redis; one read may serve thousands of streams."""
    gaps: int = 0
    """`stream:gap` sent: history no longer has what the reader asked for."""
    resets: int = 0
    """`stream:reset` sent: a reader's cursor belonged to another epoch of the history."""
    storage_losses: int = 0
    """Times that Redis had lost its data."""
    queue_overruns: int = 0
    """Times that a subscriber's queue was full, so that it catches up from history."""
    feed_connections: int = 0
    """Confirmed subscriptions; every one after the first is a reconnect."""
    refusals: Counter[str] = field(default_factory=Counter)
    """Refused requests by error code."""
    polls_cut: Counter[str] = field(default_factory=Counter)
    """Polls that were cut while the answer was written, by reason."""
    failures: Counter[str] = field(default_factory=Counter)
    """Failed calls of the ticker's functions, by name."""
    feed_lag: LagHistogram = field(default_factory=LagHistogram)
    """From an event's timestamp to its sockets; of some events, not of all."""
    loop_lag: LagHistogram = field(default_factory=LagHistogram)
    """How late the event loop is."""
