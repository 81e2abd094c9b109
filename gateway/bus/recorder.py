"""Gives bare messages their ids: appends them to history, agreed among all instances.

A batch waits until it is recorded, since what is not in history cannot be repaired. The recorder
delivers nothing itself.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import AskError, RedisError, ResponseError

from gateway.bus import scripts
from gateway.bus.cluster import Cluster
from gateway.bus.errors import REDIS_ERRORS, code_of, describe_redis_error, is_loss
from gateway.bus.inbox import SubscriptionSession
from gateway.bus.probe import probe_call
from gateway.bus.recording import FORGOTTEN, Given, Recording, RecordingRules, given_of
from gateway.contract.keys import meta_key
from gateway.events.envelope import Envelope
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


Recorded = Mapping[str, list[Given | None]]
"""By execution, what each of its messages was given, in order; None where recording was refused."""


@dataclass(eq=False)
class Recorder:
    """Records the bare messages of one gateway."""

    _redis: Redis
    _rules: RecordingRules
    _metrics: Metrics
    _calls: int = field(default=0, init=False)
    refusal: Exception | None = field(default=None, init=False)
    """Why events go out without being recorded; None while they are."""
    found_away_at: float = field(default=float("-inf"), init=False)
    """Loop time in seconds when Redis was last away, and a batch had to wait for it."""

    def __post_init__(self) -> None:
        redis = self._redis
        self._at_one_node = self._at_any_node = redis
        if isinstance(redis, Cluster):
            self._at_one_node = redis.without_waits(follows=False)
            self._at_any_node = redis.without_waits(follows=True)
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
            Recording(execution_id, envelopes[at : at + _AT_ONCE], session, self._next_call())
            for execution_id, envelopes in bare.items()
            for at in range(0, len(envelopes), _AT_ONCE)
        ]
        deadline = asyncio.get_running_loop().time() + REFUSAL_DEADLINE
        given: set[str] = set()
        pauses = Backoff(0.05, 1.0)
        retry = True
        while True:
            refuses_all = await self._try(parts, deadline, retry=retry)
            # One more try for what was refused while Redis was just about to record again.
            retry = refuses_all is not False
            open_parts = {part.execution_id for part in parts if part.given is None}
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

    def _next_call(self) -> int:
        self._calls += 1
        return self._calls

    async def _try(
        self, parts: Sequence[Recording], deadline: float, *, retry: bool
    ) -> bool | None:
        """Ask for what is not settled; whether Redis refuses everything, or None where it is away.
        A repeated call answers what it did before."""
        refused: list[tuple[Recording, RedisError]] = []
        try:
            while asked := _next_parts(parts, {part.execution_id for part, _ in refused}):
                await asked[0].session.since.learn(part.execution_id for part in asked)
                answers = await self._ask(asked)
                for part, answer in zip(asked, answers, strict=True):
                    if (refusal := self._settle(part, answer)) is not None:
                        refused.append((part, refusal))
                if lost := next((one for one in answers if is_loss(one)), None):
                    # Of a cluster, the node of some.
                    raise lost
            if not refused:
                self.refusal = None
                return False
            refuses_all = await self._refuses_all(refused[0][0].execution_id)
        except REDIS_ERRORS:
            return None
        if not refuses_all:
            self.refusal = None
            self._settle_own_faults(refused, retry=retry)
        elif self.refusal is not None or asyncio.get_running_loop().time() > deadline:
            # The first batch has waited; those after it are tried once.
            self._give_up(refused)
        return refuses_all

    def _settle(self, part: Recording, answer: Any) -> RedisError | None:
        """Keep the *answer* to its call; or returns why it was refused."""
        if isinstance(answer, AskError):
            part.session.since.redirected(part.execution_id)
        elif not isinstance(answer, Exception):
            self._recorded(part, answer)
        elif isinstance(answer, RedisError) and not is_loss(answer):
            return answer
        return None

    async def _ask(self, asked: Sequence[Recording]) -> list[Any]:
        """The answers. What a session compares is of one node, so a call is only sent on to another
        node where it fits that one too."""
        groups: dict[bool, list[Recording]] = {}
        for part in asked:
            groups.setdefault(part.session.since.moves(part.execution_id), []).append(part)
        answers: dict[str, Any] = {}
        for follows, some in groups.items():
            redis = self._at_any_node if follows else self._at_one_node
            found = await scripts.run_all(redis, [part.call(self._rules) for part in some])
            answers.update(zip((part.execution_id for part in some), found, strict=True))
        return [answers[part.execution_id] for part in asked]

    async def _refuses_all(self, execution_id: str) -> bool:
        """Whether Redis refuses to record anything at all, where this execution is; else it is the
        execution's own fault."""
        node = None
        if isinstance(self._redis, Cluster):
            node = self._redis.node_of(meta_key(execution_id))
        try:
            if (call := probe_call(node, self._redis)) is not None:
                await scripts.run(self._redis, call)
        except ResponseError:
            return True
        return False

    def _settle_own_faults(
        self, refused: Sequence[tuple[Recording, RedisError]], *, retry: bool
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

    def _give_up(self, refused: Sequence[tuple[Recording, RedisError]]) -> None:
        refusal = refused[-1][1]
        for part, _ in refused:
            self._unrecorded(part)
        self.refusal = refusal
        self._refusal_log.warning(log, "%s (%s)", self.problem, refusal)

    def _recorded(self, part: Recording, answer: Any) -> None:
        if answer == b"forgotten":
            self._metrics.events_dropped["forgotten"] += len(part.envelopes)
            part.given = [FORGOTTEN] * len(part.envelopes)
        # Part of it was kept in Redis, where somebody else may have written something.
        elif isinstance(answer, list) and len(answer) == len(part.envelopes):
            self._metrics.events_recorded += len(answer)
            part.given = [given_of(one) for one in answer]
        else:
            self._unrecorded(part)

    def _unrecorded(self, part: Recording) -> None:
        self._metrics.events_dropped["unrecorded"] += len(part.envelopes)
        part.given = [None] * len(part.envelopes)


def _next_parts(parts: Sequence[Recording], without: Collection[str]) -> list[Recording]:
    """The first part that is not settled, of each execution but those in *without*.

    One at a time: the script remembers its last answer alone, so a repeated call before that would
    record its messages again.
    """
    first: dict[str, Recording] = {}
    for part in parts:
        if part.given is None and part.execution_id not in without:
            first.setdefault(part.execution_id, part)
    return list(first.values())


def _ids_of(parts: Sequence[Recording], execution_id: str) -> list[Given | None]:
    """Of all messages of an execution, in order."""
    return [one for part in parts if part.execution_id == execution_id for one in part.given or ()]
