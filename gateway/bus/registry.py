"""Which organization an execution belongs to, as registered in Redis.

Nothing is cached, so a registration counts from the moment it is written. Who may then watch the
execution is decided in `gateway.access.policy`.
"""

import logging
from collections import Counter, OrderedDict
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any

from redis.asyncio import Redis

from gateway.bus import scripts
from gateway.bus.answers import Answers, ask_metas
from gateway.bus.errors import describe_redis_error, is_of_one_key, redis_errors
from gateway.bus.trips import Trips
from gateway.contract.keys import PROBE_PREFIX
from gateway.contract.registration import Registration, RegistrationRefused
from gateway.contract.scripts import HistoryLimits
from gateway.errors import RedisUnavailable
from gateway.settings import variable

log = logging.getLogger(__name__)

CHECK_INTERVAL = 60.0
"""Seconds between two checks for unregistered executions, and so between two warnings."""

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
    ) -> set[str]:
        """Which of *execution_ids* are registered; they are kept for as long as *limits* say.

        What was recorded before is kept too: a registration by a plain HSET does not do that.

        Raises:
            RedisUnavailable: Redis could not be asked.
        """
        answers = await ask_metas(self._redis, execution_ids, "organization_id")
        registered, calls = set(), []
        for execution_id, answer in zip(execution_ids, answers, strict=True):
            if isinstance(answer, Exception):
                # Nobody can have registered anything under a key of another kind.
                if not is_of_one_key(answer):
                    raise RedisUnavailable(describe_redis_error(answer)) from answer
            elif answer[0] is not None:
                registered.add(execution_id)
                # An owner that is no name of ours can watch nothing.
                with suppress(RegistrationRefused, UnicodeDecodeError):
                    calls.append(Registration(execution_id, answer[0].decode()).call(limits))
        if calls:
            with redis_errors():
                await scripts.run_all(self._redis, calls)
        return registered


async def register(
    redis: Redis, execution_id: str, organization_id: str, workflow_id: str | None = None
) -> None:
    """Register *execution_id*, so that this organization may watch it.

    Raises:
        RegistrationRefused: it is registered for another organization or workflow already.
    """
    registration = Registration(execution_id, organization_id, workflow_id)
    registration.check(await scripts.run(redis, registration.call(HistoryLimits())))


class UnregisteredWatch:
    """Warns of events of executions that are not registered; `tick` is to be called every
    `tick_seconds`."""

    def __init__(
        self,
        registry: Registry,
        interval: float = CHECK_INTERVAL,
        *,
        limits: HistoryLimits = _DEFAULT_LIMITS,
    ) -> None:
        """*limits* say how long an execution is kept once it is registered."""
        self._registry = registry
        self.tick_seconds = interval
        self._limits = limits
        self._registered: OrderedDict[str, None] = OrderedDict()
        self._unregistered: OrderedDict[str, None] = OrderedDict()
        self._unchecked: Counter[str] = Counter()

    def note_events(self, execution_id: str, events: int) -> None:
        """*events* of this execution have arrived; costs two look-ups, no I/O."""
        if execution_id in self._registered or execution_id.startswith(PROBE_PREFIX):
            return
        if execution_id in self._unchecked or len(self._unchecked) < _MOST:
            self._unchecked[execution_id] += events

    def tick(self) -> Coroutine[Any, Any, None] | None:
        """Check what has arrived."""
        return self._check() if self._unchecked or self._unregistered else None

    async def _check(self) -> None:
        arrived, self._unchecked = self._unchecked, Counter()
        execution_ids = list({**arrived, **self._unregistered})
        try:
            registered = await self._registry.keep_registered(execution_ids, self._limits)
        except RedisUnavailable:
            # Health reports it; the next check asks again.
            self._unchecked = arrived + self._unchecked
            return
        for execution_id in execution_ids:
            if execution_id in registered:
                self._registered[execution_id] = None
                self._unregistered.pop(execution_id, None)
            else:
                self._unregistered[execution_id] = None
        for remembered in (self._registered, self._unregistered):
            while len(remembered) > _MOST:
                remembered.popitem(last=False)
        if unregistered := [one for one in arrived if one not in registered]:
            log.warning(
                "%d events arrived for %d executions that nobody registered (one is %s), so nobody "
                "can watch them. Register each execution when it starts (sse-gateway register), or "
                "set %s=token to let any valid token watch.",
                sum(arrived[one] for one in unregistered),
                len(unregistered),
                unregistered[0],
                variable("ownership"),
            )
