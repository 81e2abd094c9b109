"""From messages to subscribers: takes batches from the subscription and hands the hub bursts.

A message that is no event is counted, logged and dropped here; it never reaches a stream and never
ends the feed. Nothing here awaits a reader.
"""

import logging
from collections.abc import Callable, Collection, Iterable

from gateway.bus.canary import Canary
from gateway.bus.subscription import Message, Subscription
from gateway.contract.keys import CANARY_MARK
from gateway.errors import MessageRefused
from gateway.events.envelope import EXECUTION_ID, Event, decode
from gateway.fanout.hub import Hub
from gateway.fanout.subscriber import Burst
from gateway.log import Sometimes
from gateway.metrics import Metrics

log = logging.getLogger(__name__)

DROP_LOG_INTERVAL = 10.0
"""Seconds between two log lines about dropped messages."""


class Feed:
    """Delivers what the subscription brings; `run` is its one task."""

    def __init__(
        self,
        subscription: Subscription,
        hub: Hub,
        canary: Canary,
        metrics: Metrics,
        *,
        prefix: str,
        terminal_types: Collection[str],
        event_max_bytes: int,
        saw: Callable[[str, int], None] | None = None,
    ) -> None:
        """*saw* is told the execution and the number of events of each burst."""
        self._subscription = subscription
        self._hub = hub
        self._canary = canary
        self._metrics = metrics
        self._prefix = prefix
        self._terminal_types = frozenset(terminal_types)
        self._event_max_bytes = event_max_bytes
        self._saw = saw
        self._drop_log = Sometimes(DROP_LOG_INTERVAL)

    async def run(self) -> None:
        """Deliver batch after batch, for ever."""
        while True:
            self._deliver(await self._subscription.batch())

    def _deliver(self, batch: Iterable[Message]) -> None:
        by_execution: dict[str, list[Event]] = {}
        for message in batch:
            name = message.channel.decode("utf-8", "replace").removeprefix(self._prefix)
            if name.startswith(CANARY_MARK):
                self._canary.returned(name.removeprefix(CANARY_MARK))
                continue
            try:
                event = self._read(name, message.payload)
            except MessageRefused as refusal:
                self._drop(message.channel, refusal)
            else:
                by_execution.setdefault(name, []).append(event)
        for execution_id, events in by_execution.items():
            self._metrics.events_received += len(events)
            if self._saw is not None:
                self._saw(execution_id, len(events))
            self._hub.publish(execution_id, self._join(events))

    def _read(self, execution_id: str, payload: bytes) -> Event:
        if not EXECUTION_ID.fullmatch(execution_id):
            raise MessageRefused("its channel names no execution id")
        if len(payload) > self._event_max_bytes:
            raise MessageRefused(
                f"it has {len(payload)} bytes, {self._event_max_bytes} are allowed"
            )
        return decode(payload)

    def _join(self, events: list[Event]) -> Burst:
        """One write for all; what follows the terminal event never rewinds a stream."""
        for index, event in enumerate(events):
            if event.type in self._terminal_types:
                taken = events[: index + 1]
                return Burst(b"".join(one.frame for one in taken), len(taken), terminal=True)
        return Burst(b"".join(event.frame for event in events), len(events))

    def _drop(self, channel: bytes, refusal: MessageRefused) -> None:
        self._metrics.events_dropped["malformed"] += 1
        held_back = self._drop_log.allows()
        if held_back is not None:
            log.warning(
                "Dropped a message on channel %r: %s. (%d more were dropped since the last line.)",
                channel[:200],
                refusal,
                held_back,
            )
