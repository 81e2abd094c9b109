"""Gives every silent stream its heartbeat, spread over the interval.

A wheel of slots represents the next interval. Each tick visits the subscribers of one slot: a
silent one gets the heartbeat, one that was written to meanwhile only moves to the slot in which it
would be silent for the interval. So a tick touches a small share of the streams, and writing an
event touches no timer at all. It also closes streams that have reached their maximum age, since
every stream is visited once an interval.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from gateway.events.sse_encoder import CloseReason, heartbeat
from gateway.fanout.stream import Stream
from gateway.ticker import PERIOD, in_parts

_MIN_SLOTS = 20
"""Fewest slots of the wheel: an interval of less than five seconds needs shorter ticks."""
_EARLY = 0.2
"""Share of the interval by which a heartbeat may come early. Tabs that saw the same event or the
same restart would otherwise stay in step, and be always served in one burst."""


class Heartbeat:
    """The heartbeats of all subscribers; `tick` is to be called every `tick_seconds`."""

    def __init__(
        self,
        interval: float,
        max_age: float = 0.0,
        on_silence: Callable[[str], None] = lambda _: None,
        can_hear: Callable[[], bool] = lambda: True,
    ) -> None:
        """*interval* and *max_age* in seconds; a *max_age* of 0 lets streams grow old.

        *on_silence* is called with the execution of each stream that gets a heartbeat.
        *can_hear* says whether events can come from Redis; a tick asks it once.
        """
        self.interval = interval
        """Seconds: the longest silence of a stream that is well."""
        self._max_age = max_age
        self._on_silence = on_silence
        self._can_hear = can_hear
        self.tick_seconds = min(PERIOD, interval / _MIN_SLOTS)
        self._slots: list[list[Stream]] = [[] for _ in range(round(interval / self.tick_seconds))]
        self._hand = 0
        self._moved_at: float | None = None

    def add(self, subscriber: Stream) -> None:
        """Care for *subscriber* until it has left."""
        since = subscriber.written_at
        self._place(subscriber, since, since)

    def tick(self) -> Coroutine[Any, Any, None] | None:
        """Visit the slots whose time has come."""
        now = asyncio.get_running_loop().time()
        if self._moved_at is None:
            self._moved_at = now - self.tick_seconds
        # The hand goes by the clock: a tick may be late, or left out while the last one works.
        steps = round((now - self._moved_at) / self.tick_seconds)
        self._moved_at += steps * self.tick_seconds
        visited: list[Stream] = []
        # A process that was suspended must not make up for all the ticks it slept through.
        for _ in range(min(steps, len(self._slots))):
            self._hand = (self._hand + 1) % len(self._slots)
            visited += self._slots[self._hand]
            self._slots[self._hand] = []
        if not visited:
            return None
        return in_parts(visited, partial(self._visit, now, heartbeat(can_hear=self._can_hear())))

    def _visit(self, now: float, beat: bytes, subscriber: Stream) -> None:
        if subscriber.is_ending:
            return
        if self._max_age and now - subscriber.opened_at >= self._max_age:
            subscriber.close(CloseReason.MAX_AGE)
            return
        since = subscriber.written_at
        silence = self.interval * (1 - _EARLY) - 2 * self.tick_seconds
        is_silent = now - since >= silence
        # First, so that it is visited again whatever happens.
        self._place(subscriber, now if is_silent else since, now)
        # One execution of several may be silent while others are not.
        for execution_id in subscriber.silent_since(now - silence):
            self._on_silence(execution_id)
        if is_silent:
            subscriber.notify(beat)

    def _place(self, subscriber: Stream, since: float, now: float) -> None:
        # Two ticks less than the interval: one is lost to rounding, one to the tick's own length.
        share = 1 - random.uniform(0, _EARLY)  # noqa: S311 - spreads load, guards nothing
        wait = since + self.interval * share - now
        slots = len(self._slots)
        ahead = min(max(int(wait / self.tick_seconds) - 1, 1), slots - 1)
        self._slots[(self._hand + ahead) % slots].append(subscriber)
