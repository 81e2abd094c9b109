"""Which organization an execution belongs to, as registered in Redis.

Nothing is cached, so a registration counts from the moment it is written. Who may then watch the
execution is decided in `gateway.access.policy`.
"""

import logging
from collections import Counter, OrderedDict
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from redis.asyncio import Redis

from gateway.bus import scripts
from gateway.bus.answers import Answers, ask_metas
from gateway.bus.cluster import Cluster
from gateway.bus.errors import (
    REDIS_ERRORS,
    describe_redis_error,
    is_loss,
    is_of_one_key,
    redis_errors,
)
from gateway.bus.trips import Trips
from gateway.contract.index import registered_call
from gateway.contract.keys import PROBE_PREFIX
from gateway.contract.registration import Registration, RegistrationRefused
from gateway.contract.scripts import Call, HistoryLimits
from gateway.errors import RedisUnavailable
from gateway.settings import variable

log = logging.getLogger(__name__)

CHECK_INTERVAL = 60.0
"""Seconds between two checks for unregistered executions, and so between two warnings."""

RETRY_SECONDS = 5.0
"""Seconds until those are asked for again of which Redis has said nothing."""

_MOST = 1000
"""Most executions remembered, registered or not: a flood of new ids must not grow the process."""

_DEFAULT_LIMITS = HistoryLimits()


class Registry:
    """Reads registrations."""

    def __init__(self, redis: Redis, trips: Trips | None = None) -> None:
        """*trips*: in which owners are asked for; else its own."""
        self._redis = redis
        self._answers = Answers("The owner of")
        self._trips = trips or Trips(redis)

    async def owner(self, execution_id: str) -> str | None:
        """The organization that *execution_id* is registered for, if any.

        Calls at the same time share a round trip: after a restart there are thousands.

        Raises:
            RedisUnavailable: Redis could not be asked, or the owner there is no text.
        """
        with self._answers.about(execution_id):
            [owner] = await self._trips.ask_meta(execution_id, "organization_id")
            # Strictly: an owner that is no text must not look like one that is.
            return owner.decode() if owner is not None else None

    async def workflow(self, execution_id: str) -> str | None:
        """The workflow that *execution_id* is a run of, if it was registered with one.

        Raises:
            RedisUnavailable: Redis could not be asked.
        """
        with redis_errors():
            [workflow] = await self._trips.ask_meta(execution_id, "workflow_id")
        return workflow.decode(errors="replace") if workflow is not None else None

    async def keep_registered(
        self, execution_ids: Sequence[str], limits: HistoryLimits
    ) -> dict[str, bool]:
        """Whether each of *execution_ids* is registered; those that are, are kept for as long as
        *limits* say. One of which Redis says nothing, as of a lost node's, is not in the answer.

        What was recorded before is kept too: a registration by a plain HSET does not do that.
        """
        try:
            answers = await ask_metas(self._redis, execution_ids, "organization_id")
        except RedisUnavailable:
            return {}
        in_cluster = isinstance(self._redis, Cluster)
        registered: dict[str, bool] = {}
        calls: dict[str, Call] = {}
        for execution_id, answer in zip(execution_ids, answers, strict=True):
            if isinstance(answer, Exception):
                # Nobody can have registered anything under a key of another kind.
                if is_of_one_key(answer):
                    registered[execution_id] = False
                continue
            registered[execution_id] = answer[0] is not None
            if answer[0] is not None:
                # An owner that is no name of ours can watch nothing.
                with suppress(RegistrationRefused, UnicodeDecodeError):
                    registration = Registration(execution_id, answer[0].decode())
                    calls[execution_id] = registration.call(limits, in_cluster=in_cluster)
        for execution_id in await self._lost(calls):
            del registered[execution_id]
        return registered

    async def _lost(self, calls: Mapping[str, Call]) -> list[str]:
        """Run *calls*; returns of which there is no answer."""
        if not calls:
            return []
        try:
            answers = await scripts.run_all(self._redis, list(calls.values()))
        except REDIS_ERRORS:
            return list(calls)
        return [one for one, answer in zip(calls, answers, strict=True) if is_loss(answer)]


async def register(
    redis: Redis,
    execution_id: str,
    organization_id: str,
    workflow_id: str | None = None,
    channel_prefix: str = "execution:",
) -> None:
    """Register *execution_id*, so that this organization may watch it, and have it listed.

    Raises:
        RegistrationRefused: it is registered for another organization or workflow already.
    """
    registration = Registration(execution_id, organization_id, workflow_id)
    call = registration.call(HistoryLimits(), in_cluster=isinstance(redis, Cluster))
    registration.check(await scripts.run(redis, call))
    try:
        await scripts.run(redis, registered_call(registration, HistoryLimits(), channel_prefix))
    except REDIS_ERRORS as error:
        log.warning(
            "Lists show %s with its first event: %s", execution_id, describe_redis_error(error)
        )


class UnregisteredWatch:
    """Warns of events of executions that are not registered, and keeps those that are; `tick` is to
    be called every `tick_seconds`."""

    def __init__(
        self,
        registry: Registry,
        interval: float = CHECK_INTERVAL,
        *,
        limits: HistoryLimits = _DEFAULT_LIMITS,
    ) -> None:
        """*interval*: seconds between two checks. *limits* say how long an execution is kept once
        it is registered."""
        self._registry = registry
        self.tick_seconds = min(interval, RETRY_SECONDS)
        self._rounds = self._left = round(interval / self.tick_seconds)
        """Ticks from one check to the next, and until then."""
        self._limits = limits
        self._registered: OrderedDict[str, None] = OrderedDict()
        self._unregistered: OrderedDict[str, None] = OrderedDict()
        self._unchecked: Counter[str] = Counter()
        self._unanswered: set[str] = set()
        """Of these the last check has learned nothing."""

    def note_events(self, execution_id: str, events: int) -> None:
        """*events* of this execution have arrived; costs two look-ups, no I/O."""
        if execution_id in self._registered or execution_id.startswith(PROBE_PREFIX):
            return
        if execution_id in self._unchecked or len(self._unchecked) < _MOST:
            self._unchecked[execution_id] += events

    def tick(self) -> Coroutine[Any, Any, None] | None:
        """Check what has arrived; or, between two checks, what the last one has not learned."""
        self._left -= 1
        if self._left > 0:
            return self._look_again() if self._unanswered else None
        self._left = self._rounds
        return self._check() if self._unchecked or self._unregistered else None

    async def _check(self) -> None:
        arrived, self._unchecked = self._unchecked, Counter()
        answers = await self._ask({**arrived, **self._unregistered})
        # Health reports what is lost.
        self._unchecked.update({one: arrived[one] for one in self._unanswered if one in arrived})
        for execution_id, is_registered in answers.items():
            if not is_registered:
                self._unregistered[execution_id] = None
        _bound(self._unregistered)
        if unregistered := [one for one in arrived if answers.get(one) is False]:
            log.warning(
                "%d events arrived for %d executions that nobody registered (one is %s), so nobody "
                "can watch them. Register each execution when it starts (sse-gateway register), or "
                "set %s=token to let any valid token watch.",
                sum(arrived[one] for one in unregistered),
                len(unregistered),
                unregistered[0],
                variable("ownership"),
            )

    async def _look_again(self) -> None:
        # Which of them are not registered, the next check says.
        answers = await self._ask(self._unanswered)
        for execution_id, is_registered in answers.items():
            if is_registered:
                self._unchecked.pop(execution_id, None)

    async def _ask(self, execution_ids: Iterable[str]) -> dict[str, bool]:
        asked = list(execution_ids)
        answers = await self._registry.keep_registered(asked, self._limits)
        self._unanswered = {one for one in asked if one not in answers}
        for execution_id, is_registered in answers.items():
            if is_registered:
                self._registered[execution_id] = None
                self._unregistered.pop(execution_id, None)
        _bound(self._registered)
        return answers


def _bound(remembered: OrderedDict[str, None]) -> None:
    while len(remembered) > _MOST:
        remembered.popitem(last=False)
