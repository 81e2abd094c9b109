"""Reads the histories of executions from Redis, in pages of at most 1 MiB.

It answers from Redis each time; sharing one read among many streams is `gateway.fanout.reads`.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from redis.asyncio import Redis

from gateway.bus import scripts
from gateway.bus.answers import Answers
from gateway.bus.errors import REDIS_ERRORS, describe_redis_error
from gateway.contract.keys import meta_key
from gateway.contract.scripts import read_call
from gateway.dataloader import DataLoader
from gateway.errors import MessageRefused, RedisUnavailable
from gateway.events.envelope import Envelope, decode
from gateway.events.history_page import CursorStatus
from gateway.events.ids import EventId, parse_id
from gateway.log import RateLimitedLog
from gateway.metrics import Metrics

log = logging.getLogger(__name__)

PAGE_BYTES = 1024 * 1024
"""Most bytes of history that one stream holds at a time."""

_AT_ONCE = 32
"""Pages read in one round trip; each may be as large as a page can be."""

_MEASURED_AT_ONCE = 256
"""Histories that are measured in one round trip."""

refusal_log = RateLimitedLog(10.0)
"""Of entries that are no event, in all histories."""


class _Question(NamedTuple):
    """Which events are asked for."""

    execution_id: str
    cursor: EventId | None
    only_valid: bool


class Entry(NamedTuple):
    """One event as history keeps it: the producer's JSON has no id."""

    id: EventId
    payload: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """What `read.lua` answers; see `gateway.events.history_page` for the verdicts."""

    cursor_status: CursorStatus
    first: EventId | None
    terminal: EventId | None
    terminal_type: str
    terminal_kept: bool
    more: bool
    last: EventId | None
    entries: list[Entry]


class Extent(NamedTuple):
    """How large a history is, without reading it: of all that was ever recorded in its life, what
    was trimmed included."""

    last: EventId | None
    events: int
    bytes: int


class History:
    """The histories in one Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._pages: DataLoader[_Question, Page] = DataLoader(self._read, _AT_ONCE)
        self._answers = Answers("The history of")
        self._extents: DataLoader[str, Extent] = DataLoader(self._measure, _MEASURED_AT_ONCE)

    async def page(
        self, execution_id: str, cursor: EventId | None, *, only_valid: bool = False
    ) -> Page:
        """The events after *cursor*, as many as one page holds, never beyond the terminal one.

        *only_valid*: none, where they would not follow the cursor (`reset`).

        Raises:
            RedisUnavailable: Redis could not be asked, or what it holds is no history of ours.
        """
        return await self._pages.ask(_Question(execution_id, cursor, only_valid))

    async def _read(self, asked: Sequence[_Question]) -> dict[_Question, Page | RedisUnavailable]:
        calls = [
            read_call(
                one.execution_id,
                str(one.cursor) if one.cursor is not None else "",
                PAGE_BYTES,
                only_valid=one.only_valid,
            )
            for one in asked
        ]
        try:
            answers = await scripts.run_all(self._redis, calls)
        except REDIS_ERRORS as error:
            raise RedisUnavailable(describe_redis_error(error)) from error
        # What is wrong with one execution is that one's alone; the others are answered.
        return {
            one: self._answers.decode(one.execution_id, _page, answer)
            for one, answer in zip(asked, answers, strict=True)
        }

    async def extent(self, execution_id: str) -> Extent:
        """How large the history is, about.

        Raises:
            RedisUnavailable: Redis could not be asked, or what it holds is no history of ours.
        """
        return await self._extents.ask(execution_id)

    async def _measure(self, execution_ids: Sequence[str]) -> dict[str, Extent | RedisUnavailable]:
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for execution_id in execution_ids:
                    pipeline.hmget(meta_key(execution_id), "epoch", "seq", "bytes")
                answers = await pipeline.execute(raise_on_error=False)
        except REDIS_ERRORS as error:
            raise RedisUnavailable(describe_redis_error(error)) from error
        return {
            execution_id: self._answers.decode(execution_id, _extent, answer)
            for execution_id, answer in zip(execution_ids, answers, strict=True)
        }

    async def stop(self) -> None:
        """Give up the reads under way."""
        await self._pages.stop()
        await self._extents.stop()

    async def positions(self, execution_ids: Sequence[str]) -> dict[str, EventId | None]:
        """The last id of each history, in one round trip; None where there is no history. One that
        cannot be read is left out.

        Raises:
            RedisUnavailable: Redis could not be asked.
        """
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for execution_id in execution_ids:
                    pipeline.hmget(meta_key(execution_id), "epoch", "seq")
                answers = await pipeline.execute(raise_on_error=False)
        except REDIS_ERRORS as error:
            raise RedisUnavailable(describe_redis_error(error)) from error
        decoded = {
            execution_id: self._answers.decode(execution_id, _position, answer)
            for execution_id, answer in zip(execution_ids, answers, strict=True)
        }
        return {
            execution_id: last
            for execution_id, last in decoded.items()
            if not isinstance(last, RedisUnavailable)
        }


def envelope_of(execution_id: str, entry: Entry, metrics: Metrics) -> Envelope | None:
    """What *entry* of a history holds. None where it is no event: somebody else wrote it there, or
    an older release that refused less. That is counted and logged, each time it is read."""
    try:
        return decode(entry.payload)
    except MessageRefused as refusal:
        metrics.events_dropped["history"] += 1
        if (held_back := refusal_log.due()) is not None:
            log.warning(
                "Left out event %s of the history of %s: %s. (%d more since the last line.)",
                entry.id,
                execution_id,
                refusal,
                held_back,
            )
        return None


def _page(answer: Any) -> Page:
    cursor_status, first, terminal, terminal_type, terminal_kept, more, last, *rest = answer
    return Page(
        cursor_status=cast(CursorStatus, cursor_status.decode()),
        first=parse_id(first.decode()),
        terminal=_id(terminal) if terminal else None,
        terminal_type=terminal_type.decode(),
        terminal_kept=bool(terminal_kept),
        more=bool(more),
        last=parse_id(last.decode(errors="replace")),
        entries=[
            Entry(_id(event_id), payload)
            for event_id, payload in zip(rest[::2], rest[1::2], strict=True)
        ],
    )


def _position(answer: Any) -> EventId | None:
    epoch, seq = answer
    return _id(b"%b-%b" % (epoch, seq)) if epoch and seq else None


def _extent(answer: Any) -> Extent:
    last = _position(answer[:2])
    return Extent(last, last.seq if last is not None else 0, int(answer[2] or 0))


def _id(text: bytes) -> EventId:
    if (event_id := parse_id(text.decode())) is None:
        raise ValueError("it has an event id that is none")
    return event_id
