"""Whose execution it is: the `organization_id` that was registered for it in Redis.

It answers from Redis and keeps nothing, so a registration counts from the moment it is written.
Who may then see it is `gateway.access.policy`.
"""

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Collection, Sequence
from contextlib import suppress

from redis.asyncio import Redis

from gateway.bus import scripts
from gateway.bus.answers import Answers
from gateway.bus.errors import REDIS_ERRORS, describe_redis_error, is_of_one_key
from gateway.contract.keys import PROBE_PREFIX, meta_key
from gateway.contract.registration import Registration, RegistrationRefused
from gateway.contract.scripts import HistoryLimits
from gateway.dataloader import DataLoader
from gateway.errors import RedisUnavailable
from gateway.settings import variable

_AT_ONCE = 256
"""Owners asked for in one round trip."""


class Registry:
    """Reads and writes registrations."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._answers = Answers("The owner of")
        self._owners: DataLoader[str, str | None] = DataLoader(self._owners_of, _AT_ONCE)

    async def owner(self, execution_id: str) -> str | None:
        """The organization that *execution_id* is registered for, if any.

        All who ask at the same time share a round trip: after a restart, thousands do.

        Raises:
            RedisUnavailable: Redis could not be asked.
        """
        return await self._owners.ask(execution_id)

    async def stop(self) -> None:
        """Give up what is under way."""
        await self._owners.stop()

    async def workflow(self, execution_id: str) -> str | None:
        """The workflow that *execution_id* is a run of, if whoever registered it said so.

        Raises:
            RedisUnavailable: Redis could not be asked.
        """
        return await self._field(execution_id, "workflow_id")

    async def _owners_of(
        self, execution_ids: Sequence[str]
    ) -> dict[str, str | RedisUnavailable | None]:
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for execution_id in execution_ids:
                    pipeline.hget(meta_key(execution_id), "organization_id")
                values = await pipeline.execute(raise_on_error=False)
        except REDIS_ERRORS as error:
            raise RedisUnavailable(describe_redis_error(error)) from error
        # What is wrong with one execution is that one's alone; the others are answered.
        return {
            one: self._answers.decode(one, _owner, value)
            for one, value in zip(execution_ids, values, strict=True)
        }

    async def unregistered(self, execution_ids: list[str]) -> list[str]:
        """Those of *execution_ids* that nobody has registered, in one round trip.

        Raises:
            RedisUnavailable: Redis could not be asked.
        """
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for execution_id in execution_ids:
                    pipeline.hexists(meta_key(execution_id), "organization_id")
                answers = await pipeline.execute(raise_on_error=False)
            for answer in answers:
                # Where the key is of another kind, nobody has registered anything.
                if isinstance(answer, Exception) and not is_of_one_key(answer):
                    raise answer
        except REDIS_ERRORS as error:
            raise RedisUnavailable(describe_redis_error(error)) from error
        return [one for one, known in zip(execution_ids, answers, strict=True) if known != 1]

    async def keep(self, execution_ids: Collection[str], limits: HistoryLimits) -> None:
        """Keep all of *execution_ids* that are registered for as long as *limits* say, also what
        was recorded before: whoever registers by a plain HSET does not do that.

        Raises:
            RedisUnavailable: Redis could not be asked.
        """
        owners = await asyncio.gather(*map(self.owner, execution_ids), return_exceptions=True)
        calls = []
        for execution_id, owner in zip(execution_ids, owners, strict=True):
            # Who it is registered for may be no name of ours: nobody can watch it then.
            with suppress(RegistrationRefused):
                if isinstance(owner, str):
                    calls.append(Registration(execution_id, owner).call(limits))
        try:
            if calls:
                await scripts.run_all(self._redis, calls)
        except REDIS_ERRORS as error:
            raise RedisUnavailable(describe_redis_error(error)) from error

    async def _field(self, execution_id: str, name: str) -> str | None:
        try:
            value = await self._redis.hget(meta_key(execution_id), name)
        except REDIS_ERRORS as error:
            raise RedisUnavailable(describe_redis_error(error)) from error
        return _text(value)


def _owner(value: bytes | None) -> str | None:
    # Strictly: an owner that is no text must not look like one that is.
    return value.decode() if value is not None else None


def _text(value: object) -> str | None:
    return value.decode(errors="replace") if isinstance(value, bytes) else None


async def register(
    redis: Redis, execution_id: str, organization_id: str, workflow_id: str | None = None
) -> None:
    """Say whose *execution_id* is, so that this organization may watch it.

    Raises:
        RegistrationRefused: it is registered for another organization or workflow already.
    """
    registration = Registration(execution_id, organization_id, workflow_id)
    registration.check(await scripts.run(redis, registration.call(HistoryLimits())))


log = logging.getLogger(__name__)

CHECK_INTERVAL = 60.0
"""Seconds between two checks, and so between two warnings."""

_MOST = 1000
"""Most executions remembered, known or not: a flood of new ids must not grow the process."""

_DEFAULT_LIMITS = HistoryLimits()


class UnregisteredWatch:
    """Counts events of executions not known to be registered; `run` is its one task."""

    def __init__(
        self,
        registry: Registry,
        interval: float = CHECK_INTERVAL,
        *,
        limits: HistoryLimits = _DEFAULT_LIMITS,
    ) -> None:
        """*limits* say how long an execution is kept once it is registered."""
        self._registry = registry
        self._interval = interval
        self._limits = limits
        self._waiting: OrderedDict[str, None] = OrderedDict()
        self._registered: OrderedDict[str, None] = OrderedDict()
        self._unknown: Counter[str] = Counter()

    def note_events(self, execution_id: str, events: int) -> None:
        """*events* of this execution have arrived; costs two look-ups, no I/O."""
        if execution_id in self._registered or execution_id.startswith(PROBE_PREFIX):
            return
        if execution_id in self._unknown or len(self._unknown) < _MOST:
            self._unknown[execution_id] += events

    async def run(self) -> None:
        """Check what has been seen, for ever."""
        while True:
            await asyncio.sleep(self._interval)
            if self._unknown or self._waiting:
                await self._check()

    async def _check(self) -> None:
        seen, self._unknown = self._unknown, Counter()
        try:
            asked = list({**seen, **self._waiting})
            unregistered = await self._registry.unregistered(asked)
            found = set(asked) - set(unregistered)
            await self._registry.keep(found, self._limits)
        except RedisUnavailable:
            # Health tells of it; the question is asked again at the next check.
            self._unknown = seen + self._unknown
            return
        for execution_id in found:
            self._registered[execution_id] = None
            self._waiting.pop(execution_id, None)
        self._waiting.update(dict.fromkeys(unregistered))
        for remembered in (self._registered, self._waiting):
            while len(remembered) > _MOST:
                remembered.popitem(last=False)
        unregistered = [one for one in unregistered if one in seen]
        if unregistered:
            log.warning(
                "%d events arrived for %d executions that nobody registered (one is %s), so nobody "
                "can watch them. Register each execution when it starts (sse-gateway register), or "
                "set %s=token to let any valid token watch.",
                sum(seen[one] for one in unregistered),
                len(unregistered),
                unregistered[0],
                variable("ownership"),
            )
