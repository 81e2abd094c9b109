"""Gives bare messages their ids: appends them to history, agreed among all instances.

A batch is held until it is recorded, since what is not in history cannot be repaired. It does not
deliver anything.
"""

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

from redis.asyncio import Redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import RedisError

from gateway.bus import scripts
from gateway.bus.errors import FOREIGN_VALUE, REDIS_ERRORS, describe_redis_error, is_of_one_key
from gateway.bus.subscription import Life
from gateway.contract.keys import PROBE_PREFIX
from gateway.contract.scripts import BareMessage, Call, HistoryLimits, record_call
from gateway.events.envelope import Envelope
from gateway.events.ids import EventId, parse_id
from gateway.log import RateLimitedLog
from gateway.metrics import Metrics

log = logging.getLogger(__name__)

REFUSAL_DEADLINE = 5.0
"""Seconds that a batch is held while Redis refuses to record it (out of memory, no right)."""

PROBE_INTERVAL = 5.0
"""Seconds between two looks at whether Redis records again, where no event shows it."""

_PROBE_LIMITS = HistoryLimits(max_events=1, open_ttl_ms=60_000, history_ttl_ms=60_000)

_AT_ONCE = 100
"""Messages of one execution recorded in one call; a call stops everything else in Redis."""

_BACKOFF = ExponentialWithJitterBackoff(cap=1.0, base=0.05)

FORGOTTEN = EventId(0, 0)
"""Given to a message that was recorded so long ago that nobody remembers its id."""

Recorded = Mapping[str, list[EventId | None]]
"""By execution, an id for each of its messages, in order; None where recording was refused."""


class Recorder:
    """Records the bare messages of one gateway."""

    def __init__(
        self,
        redis: Redis,
        limits: HistoryLimits,
        terminal_types: Collection[str],
        metrics: Metrics,
        unregistered_ttl_ms: int = 0,
    ) -> None:
        """*unregistered_ttl_ms*: see `record_call`."""
        self._redis = redis
        self._unregistered_ttl_ms = unregistered_ttl_ms
        self._limits = limits
        self._terminal_types = frozenset(terminal_types)
        self._metrics = metrics
        self._batch = 0
        self._refusal_log = RateLimitedLog(10.0)
        self._foreign_log = RateLimitedLog(10.0)
        self.problem: str | None = None
        """In words, why events go out without being recorded; None while they are."""
        self.found_away_at = float("-inf")
        """Loop time in seconds when Redis was last away, and a batch had to wait for it."""

    async def run(self) -> None:
        """While events go out unrecorded, see whether Redis records again, for ever.

        Else a gateway that is sent no event would stay unhealthy until the next one.
        """
        while True:
            await asyncio.sleep(PROBE_INTERVAL)
            if self.problem is not None:
                with suppress(*REDIS_ERRORS):
                    await scripts.run(self._redis, self._probe())
                    self.problem = None

    def _probe(self) -> Call:
        """Records an event of an execution that nobody watches, and that is forgotten soon."""
        name = secrets.token_hex(8)
        return record_call(
            f"{PROBE_PREFIX}{name}",
            [BareMessage(b"{}", name.encode(), "")],
            instance=name,
            since=0,
            batch=1,
            limits=_PROBE_LIMITS,
        )

    async def record(self, life: Life, bare: Mapping[str, Sequence[Envelope]]) -> Recorded:
        """Record *bare* messages seen in one *life* of the subscription; waits until it is done.

        A Redis that is away is waited for as long as it takes; one that refuses, to a deadline.
        """
        parts = [
            (execution_id, envelopes[begin : begin + _AT_ONCE])
            for execution_id, envelopes in bare.items()
            for begin in range(0, len(envelopes), _AT_ONCE)
        ]
        answers = await self._insist([self._call(life, *part) for part in parts])
        ids: dict[str, list[EventId | None]] = {execution_id: [] for execution_id in bare}
        for (execution_id, envelopes), answer in zip(parts, answers, strict=True):
            ids[execution_id] += self._ids(len(envelopes), answer)
        return ids

    def _call(self, life: Life, execution_id: str, envelopes: Sequence[Envelope]) -> Call:
        self._batch += 1
        messages = [
            BareMessage(
                envelope.body,
                hashlib.blake2b(envelope.body, digest_size=16).digest(),
                envelope.type if envelope.type in self._terminal_types else "",
            )
            for envelope in envelopes
        ]
        return record_call(
            execution_id,
            messages,
            instance=life.name,
            since=life.since,
            batch=self._batch,
            limits=self._limits,
            unregistered_ttl_ms=self._unregistered_ttl_ms,
        )

    async def _insist(self, calls: Sequence[Call]) -> list[Any]:
        """Repeat *calls* until each is answered; a repeated one answers what it did before."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + REFUSAL_DEADLINE
        failures = 0
        while True:
            refusal: BaseException | None = None
            try:
                answers = await scripts.run_all(self._redis, calls)
                refusals = [one for one in answers if isinstance(one, RedisError)]
                # What the keys of one execution hold stays so: nobody else waits for it.
                refusal = next((one for one in refusals if not is_of_one_key(one)), None)
                if refusal is None:
                    self.problem = None
                    self._complain(refusals)
                    return answers
                if loop.time() > deadline:
                    self._give_up(refusal)
                    return answers
            except REDIS_ERRORS as error:
                # Away, not refusing: nothing else arrives either, so nobody waits for this.
                refusal = error
                self.found_away_at = loop.time()
                deadline = self.found_away_at + REFUSAL_DEADLINE
            failures += 1
            await asyncio.sleep(_BACKOFF.compute(min(failures, 10)))

    def _complain(self, refusals: Sequence[RedisError]) -> None:
        for refusal in refusals:
            if (held_back := self._foreign_log.due()) is not None:
                log.warning(
                    "Events of an execution are not recorded: %s (%s; %d more since)",
                    FOREIGN_VALUE,
                    refusal,
                    held_back,
                )

    def _give_up(self, refusal: BaseException) -> None:
        self.problem = (
            f"Events are delivered without being recorded: {describe_redis_error(refusal)}"
        )
        if (held_back := self._refusal_log.due()) is not None:
            log.error("%s (%s; %d more since)", self.problem, refusal, held_back)

    def _ids(self, count: int, answer: Any) -> list[EventId | None]:
        # Part of it was kept in Redis, where somebody else may have written something.
        if isinstance(answer, list) and len(answer) == count:
            self._metrics.events_recorded += count
            return [_id(one) for one in answer]
        self._metrics.events_dropped["unrecorded"] += count
        return [None] * count


def _id(answer: Any) -> EventId | None:
    """The id of a recorded message; None where the answer is none."""
    if answer == b"":
        return FORGOTTEN
    return parse_id(answer.decode(errors="replace")) if isinstance(answer, bytes) else None
