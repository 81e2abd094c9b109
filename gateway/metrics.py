"""What the gateway counts about itself; `gateway.admin.exposition` shows it.

Counters are plain integers, because they are touched for every event: a labelled Prometheus counter
costs more there than the delivery that it counts.
"""

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import Annotated

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
    """Totals since the process started: every number only grows. Those with a text, and perhaps the
    names of labels, are shown as they are."""

    streams_opened: Annotated[int, "Streams that were opened."] = 0
    streams_closed: Annotated[
        Counter[str], "Streams that have ended, by reason. gone: the reader left.", "reason"
    ] = field(default_factory=Counter)
    events_received: Annotated[int, "Events from Redis."] = 0
    events_delivered: Annotated[int, "Events to subscribers."] = 0
    events_published: Annotated[int, "Events that producers published by HTTP."] = 0
    events_recorded: Annotated[int, "Bare events that were recorded in a history."] = 0
    bytes_delivered: int = 0
    """Bytes written to the bodies of streams that have ended."""
    events_dropped: Annotated[
        Counter[str],
        "malformed: messages that are no event. unrecorded: events that were delivered live and "
        "are in no history. history: entries of a history that are no event. "
        "forgotten: late ones of an execution that was deleted. catching_up: events without ids "
        "that did not fit into the queue of a stream that was reading history.",
        "where",
    ] = field(default_factory=Counter)
    events_edited: Annotated[
        Counter[str],
        "Events that were not passed on as they were published. repaired: their JSON; trimmed: "
        "what was too large; replaced: little but the type could be read; renumbered: the id was "
        "the producer's own.",
        "edit",
    ] = field(default_factory=Counter)
    history_reads: Annotated[int, "Pages of history that were read from Redis."] = 0
    gaps: Annotated[int, "Times that stream:gap was sent."] = 0
    resets: Annotated[int, "Times that stream:reset was sent."] = 0
    storage_losses: Annotated[int, "Times that Redis had lost its data."] = 0
    queue_overruns: Annotated[
        int, "Times that a reader fell too far behind for its queue and went back to history."
    ] = 0
    list_notes_lost: Annotated[
        int,
        "Changes of executions for lists that Redis refused to note; lists are corrected later.",
    ] = 0
    list_updates: Annotated[
        int, "Executions that were sent to streams of lists, snapshots not counted."
    ] = 0
    feed_connections: int = 0
    """Confirmed subscriptions; every one after the first is a reconnect."""
    refusals: Annotated[
        Counter[str | tuple[str, str]],
        "Refused requests, by error code; of tokens that are not valid, by reason too.",
        "code",
        "reason",
    ] = field(default_factory=Counter)
    polls_cut: Annotated[
        Counter[str],
        "Polls whose reader did not read. stalled: it took nothing; slow: it took too little.",
        "reason",
    ] = field(default_factory=Counter)
    failures: Annotated[
        Counter[str],
        "Failed calls of what the gateway does regularly, by name; each is tried again.",
        "name",
    ] = field(default_factory=Counter)
    reload_failed: bool = False
    """The last SIGHUP brought settings with a mistake, and the old ones stay."""
    feed_lag: Annotated[LagHistogram, "From an event's timestamp to its sockets."] = field(
        default_factory=LagHistogram
    )
    loop_lag: Annotated[LagHistogram, "How late the event loop is."] = field(
        default_factory=LagHistogram
    )
