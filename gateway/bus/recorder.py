"""Gives bare messages their ids: appends them to history, agreed among all instances.

A batch is held until it is recorded, since what is not in history cannot be repaired. It does not
deliver anything.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import (
    RedisError,
    ResponseError,
)

from gateway.bus import scripts
from gateway.bus.errors import REDIS_ERRORS, code_of, describe_redis_error
from gateway.bus.probe import probe_call
from gateway.bus.subscription import SubscriptionSession
from gateway.contract.meta import kind_of
from gateway.contract.scripts import BareMessage, Call, HistoryLimits, record_call
from gateway.events.ending import TerminalTypes, with_status
from gateway.events.envelope import Envelope, untimed
from gateway.events.fields import moment_of
from gateway.events.ids import EventId, parse_id
from gateway.events.json_edit import parse_object
from gateway.log import RateLimitedLog
from gateway.metrics import Metrics
from gateway.retry import Backoff

log = logging.getLogger(__name__)

REFUSAL_DEADLINE = 5.0
"""Seconds that a batch is held while Redis refuses to record it (out of memory, no right)."""

_AT_ONCE = 100
"""Messages of one execution recorded in one call; a call stops everything else in Redis."""

_MAY_PASS = frozenset(["OOM", "NOPERM", "READONLY"])
"""Refusals that are of a whole Redis as a rule, and over a moment later."""


class Given(NamedTuple):
    """What a bare message was given when it was recorded."""

    id: EventId
    timestamp: bytes = b""
    """Empty where it has one of its own."""


FORGOTTEN = Given(EventId(0, 0))
"""Given to a message that was recorded so long ago that nobody remembers its id."""

Recorded = Mapping[str, list[Given | None]]
"""By execution, what each of its messages was given, in order; None where recording was refused."""


@dataclass(eq=False)
class Recorder:
    """Records the bare messages of one gateway."""

    _redis: Redis
    _limits: HistoryLimits
    _terminal_types: TerminalTypes
    _metrics: Metrics
    _unregistered_ttl_ms: int = 0
    """See `record_call`."""
    _restart_types: Collection[str] = ()
    """These restart their run."""
    _batch: int = field(default=0, init=False)
    refusal: Exception | None = field(default=None, init=False)
    """Why events go out without being recorded; None while they are."""
    found_away_at: float = field(default=float("-inf"), init=False)
    """Loop time in seconds when Redis was last away, and a batch had to wait for it."""

    def __post_init__(self) -> None:
        self._refusal_log = RateLimitedLog(10.0)
        self._own_fault_log = RateLimitedLog(10.0)

    @property
    def problem(self) -> str | None:
        """Why events go out without being recorded, as a sentence; None while they are."""
        if self.refusal is None:
            return None
        return f"Events are delivered without being recorded: {describe_redis_error(self.refusal)}"

    def records_again(self) -> None:
        """The probe has been recorded. Without it a gateway that is sent no event would stay
        unhealthy until the next one."""
        self.refusal = None

    async def record(
        self, session: SubscriptionSession, bare: Mapping[str, Sequence[Envelope]]
    ) -> AsyncIterator[Recorded]:
        """Record *bare* messages seen in one *session* of the subscription; gives the ids of each
        execution as soon as all of its messages are settled.

        A Redis that is away is waited for as long as it takes. One that refuses everything is
        waited for to a deadline, once; what it refuses of one execution alone, not at all.
        """
        parts = [
            _Part(execution_id, some, self._call(session, execution_id, some))
            for execution_id, envelopes in bare.items()
            for at in range(0, len(envelopes), _AT_ONCE)
            for some in [envelopes[at : at + _AT_ONCE]]
        ]
        deadline = asyncio.get_running_loop().time() + REFUSAL_DEADLINE
        given: set[str] = set()
        pauses = Backoff(0.05, 1.0)
        retry = True
        while True:
            refuses_all = await self._try(parts, deadline, retry=retry)
            # One more try for what was refused while Redis was just about to record again.
            retry = refuses_all is not False
            open_parts = {part.execution_id for part in parts if part.ids is None}
            done = [one for one in bare if one not in open_parts and one not in given]
            given.update(done)
            if done:
                yield {one: _ids_of(parts, one) for one in done}
            if not open_parts:
                return
            if refuses_all is None:
                # Away, not refusing: nothing else arrives either, so nobody waits for this.
                self.found_away_at = asyncio.get_running_loop().time()
                deadline = self.found_away_at + REFUSAL_DEADLINE
            await asyncio.sleep(pauses.next())

    def _call(
        self, session: SubscriptionSession, execution_id: str, envelopes: Sequence[Envelope]
    ) -> Call:
        self._batch += 1
        return record_call(
            execution_id,
            [self._message(envelope) for envelope in envelopes],
            instance=session.name,
            since=session.since,
            batch=self._batch,
            limits=self._limits,
            unregistered_ttl_ms=self._unregistered_ttl_ms,
        )

    def _message(self, envelope: Envelope) -> BareMessage:
        body = envelope.body
        document = parse_object(body)
        # Looking for the member in the text costs ten times as much, and most messages have one.
        without_time = untimed(body) if document.get("timestamp") is None else None
        terminal_type = with_status(envelope.type, body, self._terminal_types)
        return BareMessage(
            body if without_time is None else without_time,
            envelope.digest,
            terminal_type,
            kind_of(envelope.type),
            moment_of(document, ends=terminal_type != ""),
            int(without_time is not None),
            envelope.type in self._restart_types,
        )

    async def _try(self, parts: Sequence["_Part"], deadline: float, *, retry: bool) -> bool | None:
        """Ask for what is not settled; whether Redis refuses everything, or None where it is away.
        A repeated call answers what it did before."""
        refused: list[tuple[_Part, RedisError]] = []
        try:
            while asked := _next_parts(parts, {part.execution_id for part, _ in refused}):
                answers = await scripts.run_all(self._redis, [part.call for part in asked])
                for part, answer in zip(asked, answers, strict=True):
                    if isinstance(answer, RedisError):
                        refused.append((part, answer))
                    else:
                        self._recorded(part, answer)
            if not refused:
                self.refusal = None
                return False
            refuses_all = await self._refuses_all()
        except REDIS_ERRORS:
            return None
        if not refuses_all:
            self.refusal = None
            self._settle_own_faults(refused, retry=retry)
        elif self.refusal is not None or asyncio.get_running_loop().time() > deadline:
            # The first batch has waited; those after it are tried once.
            self._give_up(refused)
        return refuses_all

    async def _refuses_all(self) -> bool:
        """Whether Redis refuses to record anything at all; else it is the execution's own fault."""
        try:
            await scripts.run(self._redis, probe_call())
        except ResponseError:
            return True
        return False

    def _settle_own_faults(
        self, refused: Sequence[tuple["_Part", RedisError]], *, retry: bool
    ) -> None:
        """Redis records, but not for these executions: their events go out without ids, now."""
        for part, refusal in refused:
            if retry and code_of(refusal) in _MAY_PASS:
                # It began to record again between the two questions.
                continue
            self._unrecorded(part)
            self._own_fault_log.warning(
                log,
                "Events of %s are delivered without being recorded: Redis refuses its keys (%s). "
                "Delete sse:{%s}:* if something else has written there.",
                part.execution_id,
                refusal,
                part.execution_id,
            )

    def _give_up(self, refused: Sequence[tuple["_Part", RedisError]]) -> None:
        refusal = refused[-1][1]
        for part, _ in refused:
            self._unrecorded(part)
        self.refusal = refusal
        self._refusal_log.warning(log, "%s (%s)", self.problem, refusal)

    def _recorded(self, part: "_Part", answer: Any) -> None:
        if answer == b"forgotten":
            self._metrics.events_dropped["forgotten"] += len(part.envelopes)
            part.ids = [FORGOTTEN] * len(part.envelopes)
        # Part of it was kept in Redis, where somebody else may have written something.
        elif isinstance(answer, list) and len(answer) == len(part.envelopes):
            self._metrics.events_recorded += len(answer)
            part.ids = [_id(one) for one in answer]
        else:
            self._unrecorded(part)

    def _unrecorded(self, part: "_Part") -> None:
        self._metrics.events_dropped["unrecorded"] += len(part.envelopes)
        part.ids = [None] * len(part.envelopes)


@dataclass(slots=True)
class _Part:
    """Messages of one execution that are recorded in one call."""

    execution_id: str
    envelopes: Sequence[Envelope]
    call: Call
    ids: list[Given | None] | None = None
    """Of each message, once that is settled."""


def _next_parts(parts: Sequence[_Part], without: Collection[str]) -> list[_Part]:
    """The first part that is not settled, of each execution but those in *without*.

    One at a time: the script remembers its last answer alone, so a repeated call before that would
    record its messages again.
    """
    first: dict[str, _Part] = {}
    for part in parts:
        if part.ids is None and part.execution_id not in without:
            first.setdefault(part.execution_id, part)
    return list(first.values())


def _id(answer: Any) -> Given | None:
    """What was given to a recorded message; None where the answer makes no sense."""
    if answer == b"":
        return FORGOTTEN
    if not isinstance(answer, bytes):
        return None
    text, _, timestamp = answer.partition(b" ")
    event_id = parse_id(text.decode(errors="replace"))
    return Given(event_id, timestamp) if event_id is not None else None


def _ids_of(parts: Sequence[_Part], execution_id: str) -> list[Given | None]:
    """Of all messages of an execution, in order."""
    return [one for part in parts if part.execution_id == execution_id for one in part.ids or ()]
