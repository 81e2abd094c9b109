"""Tells the ids in messages that our scripts gave from those of producers.

An engine that appends to a stream of its own publishes ids of the same form. An id is ours if its
execution's `meta` knows its epoch, and its seq was given there. One look-up is enough for each
epoch, since ids follow one another.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from redis.asyncio import Redis

from gateway.bus.answers import ask_metas
from gateway.contract.meta import META_FIELDS, read_meta
from gateway.errors import RedisUnavailable
from gateway.events.envelope import Envelope
from gateway.events.ids import EventId
from gateway.retry import Backoff

_MOST = 20_000
"""Most executions whose epochs are remembered."""

_MOST_EPOCHS = 16
"""Most epochs of one execution."""

Known = dict[int, int]
"""By epoch, the last seq that is known to have been given."""

_NONE: Known = {}


class Epochs:
    """The epochs of the executions that publish with ids."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._known: dict[str, Known] = {}
        self._begun: dict[str, int] = {}
        """The present epochs of those whose history was empty when it began."""
        self.found_away_at = float("-inf")
        """Loop time in seconds when Redis was last away, and a message had to wait for it."""

    def must_ask(self, execution_id: str, envelopes: Sequence[Envelope]) -> bool:
        """Whether one of *envelopes*, in their order, has an id that may not be ours."""
        known = self._known.get(execution_id, _NONE)
        for envelope in envelopes:
            if (event_id := envelope.id) is None:
                continue
            epoch, seq = event_id
            last = known.get(epoch, 0)
            if seq == last + 1 and last:
                known[epoch] = seq
            elif not 0 < seq <= last:
                return True
        return False

    async def look(self, execution_ids: Sequence[str]) -> set[str]:
        """Ask for their epochs, for as long as it takes; which of them cannot be asked."""
        pauses = Backoff(0.05, 1.0)
        while True:
            try:
                answers = await ask_metas(self._redis, execution_ids, *META_FIELDS)
                break
            except RedisUnavailable:
                self.found_away_at = asyncio.get_running_loop().time()
                await asyncio.sleep(pauses.next())
        unread = set()
        for execution_id, answer in zip(execution_ids, answers, strict=True):
            if isinstance(answer, Exception):
                unread.add(execution_id)
            else:
                self._learn(execution_id, answer)
        return unread

    def is_ours(self, execution_id: str, event_id: EventId) -> bool:
        """Whether this id was given, as far as is known."""
        known = self._known.get(execution_id, {})
        return 0 < event_id.seq <= known.get(event_id.epoch, 0)

    def is_superseded(self, execution_id: str, event_id: EventId) -> bool:
        """Whether it has a former epoch, which ended before this id: a primary that was replaced
        has given it since, and history does not have it."""
        known = self._known.get(execution_id, _NONE)
        last = known.get(event_id.epoch)
        return last is not None and event_id.seq > last and event_id.epoch != next(reversed(known))

    def begins(self, execution_id: str, event_id: EventId | None) -> bool:
        """Whether nothing was kept when this id was given: then history begins with it."""
        return (
            event_id is not None
            and event_id.seq == 1
            and self._begun.get(execution_id) == event_id.epoch
        )

    def recorded(self, execution_id: str, ids: Iterable[EventId | None]) -> None:
        """These *ids* were given to bare messages."""
        if (known := self._known.get(execution_id)) is not None:
            for one in ids:
                if one is not None and one.seq > known.get(one.epoch, one.seq):
                    known[one.epoch] = one.seq

    def _learn(self, execution_id: str, answer: Sequence[Any]) -> None:
        known = self._known.pop(execution_id, None) or {}
        meta = read_meta(answer)
        self._begun.pop(execution_id, None)
        if meta.before == 0 and meta.epochs:
            self._begun[execution_id] = next(reversed(meta.epochs))
        for epoch, last in meta.epochs.items():
            known[epoch] = max(last, known.pop(epoch, 0))
        while len(known) > _MOST_EPOCHS:
            del known[next(iter(known))]
        if known:
            self._known[execution_id] = known
        if len(self._known) > _MOST:
            oldest = next(iter(self._known))
            del self._known[oldest]
            self._begun.pop(oldest, None)
