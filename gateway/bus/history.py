"""Reads the histories of executions from Redis, in pages of at most 1 MiB.

It answers from Redis each time; sharing one read among many streams is `gateway.fanout.catch_up`.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from redis.asyncio import Redis

from gateway.bus.answers import Answers
from gateway.bus.questions import Question
from gateway.bus.trips import Trips
from gateway.contract.keys import meta_key
from gateway.contract.meta import META_FIELDS, RunMeta, read_meta
from gateway.contract.scripts import read_call
from gateway.errors import ExecutionNotFound, MessageRefused, RedisUnavailable
from gateway.events.ending import (
    EndingStatus,
    TerminalTypes,
    ending_of_type,
    read_with_status,
    status_of,
)
from gateway.events.envelope import Envelope, EventRules, stored
from gateway.events.history_page import CursorStatus
from gateway.events.ids import EventId, parse_id
from gateway.log import RateLimitedLog
from gateway.metrics import Metrics

log = logging.getLogger(__name__)

PAGE_BYTES = 1024 * 1024
"""Most bytes of history that one stream buffers at a time."""

refusal_log = RateLimitedLog(10.0)
"""Of entries that are no event, in all histories."""


class Entry(NamedTuple):
    """One event as history keeps it: the producer's JSON has no id."""

    id: EventId
    payload: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """What `read.lua` answers; see `gateway.events.history_page` for the cursor's status."""

    cursor_status: CursorStatus
    first: EventId | None
    terminal: EventId | None
    terminal_type: str
    terminal_status: EndingStatus | None
    """How it ended; None where an earlier release recorded the end."""
    terminal_kept: bool
    more: bool
    last: EventId | None
    entries: list[Entry]
    run: int | None = None
    """The epoch with which the run began, of one that was restarted."""
    former: Sequence[EventId] = ()
    """See `RunMeta.former`."""

    def status(self, terminal_types: TerminalTypes) -> EndingStatus:
        """How the execution ended, of one that has."""
        given = terminal_types.get(self.terminal_type) or self.terminal_status
        if given is None and self.entries and self.entries[-1].id == self.terminal:
            given = status_of(self.terminal_type, self.entries[-1].payload, terminal_types)
        return given or ending_of_type(self.terminal_type, terminal_types)


class Extent(NamedTuple):
    """The size of a history: all that was recorded in its epoch, also what is trimmed by now."""

    last: EventId | None
    events: int
    bytes: int


class History:
    """The histories in one Redis."""

    def __init__(self, redis: Redis, trips: Trips | None = None) -> None:
        """*trips*: in which it asks; else its own."""
        self._answers = Answers("The history of")
        self._trips = trips or Trips(redis)

    async def page(
        self,
        execution_id: str,
        cursor: EventId | None,
        *,
        only_valid: bool = False,
        organization_id: str = "",
        run: str = "",
    ) -> Page:
        """The events after *cursor*, as many as one page holds, never beyond the terminal one.

        *only_valid*: no events where they would not follow the cursor: the page says `reset`, and
        which id is the first that is kept. *organization_id*: nothing is read for another one than
        the execution's; empty for any. *run*: the name of a former run of a restarted execution,
        see `RunMeta.run_of`.

        Raises:
            ExecutionNotFound: it is not this organization's.
            RedisUnavailable: Redis could not be asked, or what it holds is no history of ours.
        """
        call = read_call(
            execution_id,
            str(cursor or ""),
            PAGE_BYTES,
            only_valid=only_valid,
            organization_id=organization_id,
            run=run,
        )
        with self._answers.about(execution_id):
            answer = await self._trips.run(call)
            if answer == [b"foreign"]:
                raise ExecutionNotFound
            return _page(answer)

    async def extent(self, execution_id: str) -> Extent:
        """About how large the history is, without reading it.

        Raises:
            RedisUnavailable: Redis could not be asked, or what it holds is no history of ours.
        """
        with self._answers.about(execution_id):
            answer = await self._trips.ask_meta(execution_id, "epoch", "seq", "bytes")
            last = _position(answer[:2])
            return Extent(last, last.seq if last is not None else 0, int(answer[2] or 0))

    async def meta(self, execution_id: str) -> RunMeta:
        """What is known of the run beside its events: its epochs, and what survives trimming.

        Raises:
            RedisUnavailable: Redis could not be asked.
        """
        with self._answers.about(execution_id):
            return read_meta(await self._trips.ask_meta(execution_id, *META_FIELDS))

    def last_id(self, execution_id: str, answered: Callable[[EventId | None], None]) -> Question:
        """Asks for the last id of the history, None where there is none; *answered* is not called
        where Redis is away or the id cannot be read."""

        def decode(answer: object) -> None:
            with suppress(RedisUnavailable):
                with self._answers.about(execution_id):
                    if isinstance(answer, Exception):
                        raise answer
                    last = _position(answer)
                answered(last)

        # Without `bytes`: a foreign value there must not hide that events were missed.
        return Question(("HMGET", meta_key(execution_id), "epoch", "seq"), decode)


def envelope_of(
    execution_id: str, entry: Entry, metrics: Metrics, rules: EventRules
) -> Envelope | None:
    """What *entry* of a history holds, without an id; None where it is no event of ours.

    Another program wrote such an entry, or an older release that refused less. It is counted and
    logged each time it is read.
    """
    try:
        return stored(entry.payload, rules.max_bytes)
    except MessageRefused as refusal:
        metrics.events_dropped["history"] += 1
        refusal_log.warning(
            log, "Left out event %s of the history of %s: %s.", entry.id, execution_id, refusal
        )
        return None


def _page(answer: Any) -> Page:
    cursor_status, first, terminal, ended_as, terminal_kept, more, last, run, *rest = answer
    former, counts, *entries = rest
    epoch, _, seq = last.partition(b"-")
    terminal_type, status = read_with_status(ended_as.decode())
    return Page(
        cursor_status=cast(CursorStatus, cursor_status.decode()),
        first=parse_id(first.decode()),
        terminal=_id(terminal) if terminal else None,
        terminal_type=terminal_type,
        terminal_status=status,
        terminal_kept=bool(terminal_kept),
        more=bool(more),
        last=parse_id(last.decode(errors="replace")),
        run=int(run) if run.isdigit() else None,
        entries=[
            Entry(_id(event_id), payload)
            for event_id, payload in zip(entries[::2], entries[1::2], strict=True)
        ],
        former=read_meta([epoch, seq, former, counts, None, None, None]).former if former else (),
    )


def _position(answer: Any) -> EventId | None:
    epoch, seq = answer
    return _id(b"%b-%b" % (epoch, seq)) if epoch and seq else None


def _id(text: bytes) -> EventId:
    if (event_id := parse_id(text.decode())) is None:
        raise ValueError("its event id is not valid")
    return event_id
