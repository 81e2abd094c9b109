"""One task that gives every silent stream its heartbeat, spread over the interval.

A wheel of slots stands for the next interval. Each tick visits the subscribers of one slot: a
silent one gets the heartbeat, one that was written to meanwhile only moves to the slot in which it
would be silent for the interval. So a tick touches a small share of the streams, and writing an
event touches no timer at all. It also closes streams that have reached their greatest age, since
every stream comes by here once an interval.
"""

import asyncio
import random
from collections.abc import Callable

from gateway.events.sse_encoder import CloseReason, heartbeat
from gateway.fanout.state import State
from gateway.fanout.subscriber import Subscriber

_SLOTS = 240
_EARLY = 0.2
"""Share of the interval by which a heartbeat may come early. Tabs that saw the same event or the
same restart would otherwise stay in step, and be always served in one burst."""


class Heartbeat:
    """The heartbeats of all subscribers; `run` is its one task."""

    def __init__(
        self,
        interval: float,
        max_age: float = 0.0,
        on_silence: Callable[[str], None] = lambda _: None,
    ) -> None:
        """*interval* and *max_age* in seconds; a *max_age* of 0 lets streams grow old.

        *on_silence* is called with the execution of each stream that gets a heartbeat.
        """
        self.interval = interval
        """Seconds: the longest silence of a stream that is well."""
        self._max_age = max_age
        self._on_silence = on_silence
        self._tick = interval / _SLOTS
        self._slots: list[list[Subscriber]] = [[] for _ in range(_SLOTS)]
        self._hand = 0

    def add(self, subscriber: Subscriber) -> None:
        """Care for *subscriber* until it has left."""
        since = subscriber.silent_since()
        self._place(subscriber, since, since)

    async def run(self) -> None:
        """Visit the slots one after the other."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            # A process that was suspended must not make up for all the ticks it slept through.
            due = max(due + self._tick, loop.time() - self.interval)
            await asyncio.sleep(due - loop.time())
            self._hand = (self._hand + 1) % _SLOTS
            self._visit(loop.time())

    def _visit(self, now: float) -> None:
        visited, self._slots[self._hand] = self._slots[self._hand], []
        beat = heartbeat()
        for subscriber in visited:
            if subscriber.state in (State.CLOSING, State.CLOSED):
                continue
            if self._max_age and now - subscriber.opened_at >= self._max_age:
                subscriber.close(CloseReason.MAX_AGE)
                continue
            since = subscriber.silent_since()
            if now - since >= self.interval * (1 - _EARLY) - self._tick:
                subscriber.notify(beat)
                self._on_silence(subscriber.execution_id)
                since = now
            self._place(subscriber, since, now)

    def _place(self, subscriber: Subscriber, since: float, now: float) -> None:
        # Two ticks less than the interval: one is lost to rounding, one to the tick's own length.
        share = 1 - random.uniform(0, _EARLY)  # noqa: S311 - spreads load, guards nothing
        wait = since + self.interval * share - now
        ahead = min(max(int(wait / self._tick) - 1, 1), _SLOTS - 1)
        self._slots[(self._hand + ahead) % _SLOTS].append(subscriber)
