"""One load test from the first connection to the findings.

It registers the executions, opens all tabs, publishes at an even rate, and waits for the ends. It
needs only the address of the gateway and its Redis, so it can test one behind nginx and TLS too.
"""

import asyncio
import resource
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from itertools import cycle, islice
from typing import Any

from redis.asyncio import Redis

from gateway.bus.connection import create_redis
from gateway.bus.errors import REDIS_ERRORS, describe_redis_error
from gateway.bus.registry import register
from gateway.contract.keys import meta_key
from gateway.errors import RedisUnavailable
from gateway.tools.loadtest.findings import Findings, RunStats, sum_up
from gateway.tools.loadtest.ledger import Account, Ledger
from gateway.tools.loadtest.opening import Disturbance, Opening
from gateway.tools.loadtest.plan import Plan, Target
from gateway.tools.loadtest.producer import Producer
from gateway.tools.loadtest.tab import Tab
from gateway.tools.loadtest.timeline import Sample

_BATCH = 100
"""Most events published in one round trip when publishing is late."""

_REDIS_TIMEOUT = 5.0

_CONNECTIONS = 8
"""Most connections to Redis; publishing uses one at a time."""

_MOST_SAMPLES = 300
"""Most intervals that a plot can show."""


class LoadTest:
    """Runs one plan against one gateway; meanwhile `ledger` and `published` show the progress."""

    def __init__(
        self, target: Target, plan: Plan, on_sample: Callable[[Sample], None] = lambda _: None
    ) -> None:
        """*on_sample* is called at the end of each interval."""
        self.plan = plan
        self._target = target
        self._on_sample = on_sample
        self.published = 0
        self._unheard = 0
        self._tabs: list[Tab] = []
        executions = islice(cycle(plan.execution_ids()), plan.tabs)
        self._habits = plan.habits()
        self.ledger = Ledger(
            [
                Account(execution, plan.events, frozen=habit == "frozen")
                for execution, habit in zip(executions, self._habits, strict=True)
            ]
        )

    async def run(self) -> Findings:
        """Run it to its end.

        Raises:
            RedisUnavailable: Redis did not take the registrations or the events.
            NobodyListens: no gateway would hear the events.
        """
        peak_before = _peak_kib()
        async with _redis(self._target.publish_url) as redis:
            await self._register(redis)
            opening = Opening(self._target, self.plan.idle_timeout)
            self._tabs = [
                Tab(self._target.request, account, self.ledger, opening.later, habit)
                for account, habit in zip(self.ledger.accounts, self._habits, strict=True)
            ]
            disturbance = Disturbance(self.plan, self._tabs)
            try:
                async with _beside(opening.run(), self._sample()):
                    started = time.monotonic()
                    await opening.open_all(self._tabs, self.plan.ramp_up)
                    opened = time.monotonic()
                    if any(account.opened for account in self.ledger.accounts):
                        async with _beside(disturbance.run()):
                            await self._publish(redis, disturbance.calm)
                            published = time.monotonic()
                            await self._wait_for_ends()
                    else:
                        published = opened
            finally:
                for tab in self._tabs:
                    tab.give_up()
        stats = RunStats(
            self.published,
            self._unheard,
            opening_seconds=round(opened - started, 3),
            publishing_seconds=round(published - opened, 3),
            storm_seconds=disturbance.storm_seconds,
            own_cpu_seconds=round(time.process_time(), 3),
            own_kib_per_tab=round((_peak_kib() - peak_before) / self.plan.tabs, 1),
        )
        return sum_up(self.ledger, stats, self.plan.slos)

    async def _sample(self) -> None:
        """Close an interval every second, or less often in a long run; and a last one."""
        length = max(1.0, self.plan.duration / _MOST_SAMPLES)
        start = time.monotonic()
        try:
            while True:
                await asyncio.sleep(length)
                self._close_interval(time.monotonic() - start)
        finally:
            self._close_interval(time.monotonic() - start)

    def _close_interval(self, seconds: float) -> None:
        self._on_sample(self.ledger.timeline.close(seconds, self.ledger.open))

    async def _register(self, redis: Redis) -> None:
        kept_ms = int(self.plan.lifetime * 1000)
        for execution_id in self.plan.execution_ids():
            async with asyncio.timeout(_REDIS_TIMEOUT):
                await register(redis, execution_id, self._target.organization)
                await redis.pexpire(meta_key(execution_id), kept_ms)

    async def _publish(self, redis: Redis, calm: asyncio.Event) -> None:
        """Publish at an even rate, one event of each execution in turn.

        The last ones wait for *calm*, when the tabs are back from a storm: no tab comes back to an
        execution that has ended.
        """
        plan = self.plan
        executions = plan.execution_ids()
        producer = Producer(redis, self._target, plan.events)
        await producer.make_sure(
            next(one.execution_id for one in self.ledger.accounts if one.opened)
        )
        ends_from = plan.total - plan.executions
        start = time.monotonic()
        while self.published < plan.total:
            if self.published == ends_from:
                with suppress(TimeoutError):
                    async with asyncio.timeout(plan.idle_timeout):
                        await calm.wait()
            most = plan.total if self.published >= ends_from else ends_from
            due = min(most, int((time.monotonic() - start) * plan.rate) + 1)
            batch = range(self.published, min(due, self.published + _BATCH))
            numbered = [divmod(index, plan.executions) for index in batch]
            self._unheard += await producer.publish([(executions[at], n + 1) for n, at in numbered])
            self.published += len(batch)
            # Also when it is late: the tabs need time to run.
            await asyncio.sleep(start + self.published / plan.rate - time.monotonic())

    async def _wait_for_ends(self) -> None:
        """Until every tab has ended, or no event has arrived for the plan's idle timeout."""
        pending = {
            tab.ended for tab in self._tabs if tab.habit != "frozen" and not tab.ended.done()
        }
        while pending:
            before = self.ledger.received
            ended, pending = await asyncio.wait(pending, timeout=self.plan.idle_timeout)
            if not ended and self.ledger.received == before:
                return


def _peak_kib() -> int:
    """The peak memory of this process; Linux counts it in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@asynccontextmanager
async def _beside(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run *work* as long as the block runs; an error in it ends the block."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
    except BaseExceptionGroup as several:
        # The first one has ended the others.
        raise several.exceptions[0] from None


@asynccontextmanager
async def _redis(url: str) -> AsyncIterator[Redis]:
    """A client that never repeats a command: a repeated PUBLISH would look like a duplicate."""
    # Timeouts are set here instead: redis-py uses `asyncio.wait_for`, which before Python 3.12 can
    # swallow a cancellation, and then Ctrl-C would have no effect.
    redis = create_redis(url, max_connections=_CONNECTIONS, retries=0, answer_timeout=None)
    async with redis:
        try:
            yield redis
        except REDIS_ERRORS as error:
            raise RedisUnavailable(
                f"The load test cannot publish. {describe_redis_error(error)}"
            ) from error
