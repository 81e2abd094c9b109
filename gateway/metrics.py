"""What the gateway counts about itself, as plain integers.

Plain attributes, because they are touched on the path of every event and a labelled Prometheus
counter costs more there than the delivery it counts. It does not expose anything: whoever serves
metrics reads this object.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

LAG_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds: the upper bounds of the buckets of every lag."""


class Histogram:
    """How often a measure fell into each bucket, and its sum."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float] = LAG_BOUNDS) -> None:
        """*bounds*: the largest value of each bucket, ascending; larger ones have one of their
        own."""
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count *value* in."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


@dataclass(slots=True)
class Metrics:
    """Totals since the process started: every field only grows."""

    streams_opened: int = 0
    streams_closed: Counter[str] = field(default_factory=Counter)
    """By reason of the end: `completed`, `gone` (the reader left), or a close reason."""
    events_received: int = 0
    """Events read from the subscription, watched or not."""
    events_delivered: int = 0
    """Events handed to subscribers: one event to three subscribers counts three."""
    events_recorded: int = 0
    """Bare events that were given an id and a place in history, by this gateway or another one."""
    bytes_delivered: int = 0
    """Bytes of the bodies of streams that have ended, as they were written."""
    events_dropped: Counter[str] = field(default_factory=Counter)
    """Messages that are no event, by where they were dropped."""
    history_reads: int = 0
    """Pages of history read from Redis; one read may serve thousands of streams."""
    gaps: int = 0
    """`stream:gap` sent: what a reader asked for is no longer kept."""
    resets: int = 0
    """`stream:reset` sent: a reader's cursor belonged to another life of a history."""
    queue_overruns: int = 0
    """Times that more came than a reader's queue holds: it goes back to history for the rest."""
    feed_connections: int = 0
    """Confirmed subscriptions; every one after the first is a reconnect."""
    refusals: Counter[str] = field(default_factory=Counter)
    """Refused requests by error code."""
    polls_cut: Counter[str] = field(default_factory=Counter)
    """Polls whose reader was cut while the answer was written, by why."""
    feed_lag: Histogram = field(default_factory=Histogram)
    """Seconds from an event's own timestamp to its subscribers' sockets; some events are looked at,
    not all."""
    loop_lag: Histogram = field(default_factory=Histogram)
    """Seconds by which the event loop was late with what was due."""
