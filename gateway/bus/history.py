"""Reads the histories of executions from Redis, in pages of at most 1 MiB.

It answers from Redis each time; sharing one read among many streams is `gateway.bus.replay`.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from redis.asyncio import Redis

from gateway.bus import scripts
from gateway.bus.trouble import REDIS_ERRORS, in_words
from gateway.contract.keys import meta_key
from gateway.contract.scripts import read_call
from gateway.errors import MessageRefused, RedisUnavailable
from gateway.events.cursor import Id, parse_id
from gateway.events.envelope import Envelope, decode
from gateway.events.stretch import Verdict
from gateway.log import Sometimes
from gateway.metrics import Metrics
from gateway.round_trips import RoundTrips

log = logging.getLogger(__name__)

PAGE_BYTES = 1024 * 1024
"""Most bytes of history that one stream holds at a time."""

_AT_ONCE = 32
"""Pages read in one round trip; each may be as large as a page can be."""

refusal_log = Sometimes(10.0)
"""Of entries that are no event, in all histories."""

_Question = tuple[str, Id | None]
"""An execution, and the cursor after which its events are asked for."""


class Entry(NamedTuple):
    """One event as history keeps it: the producer's JSON has no id."""

    id: Id
    payload: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """What `read.lua` answers; see `gateway.events.stretch` for the verdicts."""

    verdict: Verdict
    first: Id | None
    terminal: Id | None
    terminal_type: str
    terminal_kept: bool
    more: bool
    last: Id | None
    entries: list[Entry]


class History:
    """The histories in one Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._pages: RoundTrips[_Question, Page] = RoundTrips(self._read, _AT_ONCE)

    async def page(self, execution_id: str, cursor: Id | None) -> Page:
        """The events after *cursor*, as many as one page holds, never beyond the terminal one.

        Raises:
            RedisUnavailable: Redis could not be asked.
        """
        return await self._pages.ask((execution_id, cursor))

    async def _read(self, asked: Sequence[_Question]) -> dict[_Question, Page | RedisUnavailable]:
        calls = [
            read_call(execution_id, str(cursor) if cursor is not None else "", PAGE_BYTES)
            for execution_id, cursor in asked
        ]
        try:
            answers = await scripts.run_all(self._redis, calls)
        except REDIS_ERRORS as error:
            raise RedisUnavailable(in_words(error)) from error
        return {
            # Refused for one execution (its key is somebody else's), the others are answered.
            one: RedisUnavailable(in_words(answer))
            if isinstance(answer, Exception)
            else _page(answer)
            for one, answer in zip(asked, answers, strict=True)
        }

    async def stop(self) -> None:
        """Give up the reads under way."""
        await self._pages.stop()

    async def positions(self, execution_ids: Sequence[str]) -> dict[str, Id | None]:
        """The last id of each history, in one round trip.

        Raises:
            RedisUnavailable: Redis could not be asked.
        """
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for execution_id in execution_ids:
                    pipeline.hmget(meta_key(execution_id), "epoch", "seq")
                answers = await pipeline.execute()
        except REDIS_ERRORS as error:
            raise RedisUnavailable(in_words(error)) from error
        return {
            execution_id: Id(int(epoch), int(seq)) if epoch and seq else None
            for execution_id, (epoch, seq) in zip(execution_ids, answers, strict=True)
        }


def envelope_of(execution_id: str, entry: Entry, metrics: Metrics) -> Envelope | None:
    """What *entry* of a history holds. None where it is no event: somebody else wrote it there, or
    an older release that refused less. That is counted and logged, each time it is read."""
    try:
        return decode(entry.payload)
    except MessageRefused as refusal:
        metrics.events_dropped["history"] += 1
        if (held_back := refusal_log.allows()) is not None:
            log.warning(
                "Left out event %s of the history of %s: %s. (%d more since the last line.)",
                entry.id,
                execution_id,
                refusal,
                held_back,
            )
        return None


def _page(answer: list[Any]) -> Page:
    verdict, first, terminal, terminal_type, terminal_kept, more, last, *rest = answer
    entries = [
        Entry(_id(event_id), payload)
        for event_id, payload in zip(rest[::2], rest[1::2], strict=True)
    ]
    return Page(
        verdict=cast(Verdict, verdict.decode()),
        first=parse_id(first.decode()),
        terminal=parse_id(terminal.decode()),
        terminal_type=terminal_type.decode(),
        terminal_kept=bool(terminal_kept),
        more=bool(more),
        last=parse_id(last.decode()),
        entries=entries,
    )


def _id(text: bytes) -> Id:
    epoch, _, seq = text.partition(b"-")
    return Id(int(epoch), int(seq))
