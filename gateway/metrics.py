"""What the gateway counts about itself, as plain integers.

Plain attributes, because they are touched on the path of every event and a labelled Prometheus
counter costs more there than the delivery it counts. It does not expose anything: whoever serves
metrics reads this object.
"""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Metrics:
    """Totals since the process started; every field only grows, but for `streams_open`."""

    streams_open: int = 0
    streams_opened: int = 0
    streams_closed: Counter[str] = field(default_factory=Counter)
    """By reason of the end: `completed`, `gone` (the reader left), or a close reason."""
    events_received: int = 0
    """Events read from the subscription, watched or not."""
    events_delivered: int = 0
    """Events handed to subscribers: one event to three subscribers counts three."""
    events_dropped: Counter[str] = field(default_factory=Counter)
    """Messages that are no event, by where they were dropped."""
    history_reads: int = 0
    """Pages of history read from Redis; one read may serve thousands of streams."""
    gaps: int = 0
    """`stream:gap` sent: what a reader asked for is no longer kept."""
    resets: int = 0
    """`stream:reset` sent: a reader's cursor belonged to another life of a history."""
    feed_connections: int = 0
    """Confirmed subscriptions; every one after the first is a reconnect."""
    refusals: Counter[str] = field(default_factory=Counter)
    """Refused requests by error code."""
