"""One load test from the first connection to the findings.

It registers the executions, opens all tabs, publishes at an even pace as today's workers do (bare
PUBLISH), and waits for the ends. It needs nothing of the gateway but its address and its Redis, so
it tests one behind nginx and TLS as well. It shows nothing: that is `gateway.loadtest.report`.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle, islice

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gateway.bus.registry import register
from gateway.bus.trouble import REDIS_ERRORS, in_words
from gateway.contract.keys import meta_key
from gateway.errors import RedisUnavailable
from gateway.loadtest.ledger import Account, Findings, Ledger
from gateway.loadtest.messages import compose
from gateway.loadtest.plan import Plan, Target
from gateway.loadtest.tab import Tab

_OPENING_AT_ONCE = 64
"""Tabs in the act of opening. More would overflow a listening socket's backlog."""

_BATCH = 100
"""Most events published in one round trip when the pace was lost."""

_REDIS_TIMEOUT = 5.0


class LoadTest:
    """Runs one plan against one gateway. `ledger` and `published` can be watched while it does."""

    def __init__(self, target: Target, plan: Plan) -> None:
        self.plan = plan
        self._target = target
        self.published = 0
        self._unheard = 0
        self._tabs: list[Tab] = []
        self._tls = _tls(target) if target.address.scheme == "https" else None
        executions = islice(cycle(plan.execution_ids()), plan.tabs)
        self.ledger = Ledger([Account(execution, plan.events) for execution in executions])

    async def run(self) -> Findings:
        """Run it to its end.

        Raises:
            RedisUnavailable: Redis did not take the registrations or the events.
        """
        async with _redis(self._target.publish_url) as redis:
            await self._register(redis)
            try:
                started = time.monotonic()
                await self._open_tabs()
                opened = time.monotonic()
                if any(account.opened for account in self.ledger.accounts):
                    await self._publish(redis)
                published = time.monotonic()
                await self._wait_for_ends()
            finally:
                for tab in self._tabs:
                    tab.give_up("the stream was still open when the load test gave up")
        return self.ledger.findings(
            published=self.published,
            unheard=self._unheard,
            opening_seconds=opened - started,
            publishing_seconds=published - opened,
        )

    async def _register(self, redis: Redis) -> None:
        kept_ms = int(self.plan.lifetime * 1000)
        for execution_id in self.plan.execution_ids():
            async with asyncio.timeout(_REDIS_TIMEOUT):
                await register(redis, execution_id, self._target.organization)
                await redis.pexpire(meta_key(execution_id), kept_ms)

    async def _open_tabs(self) -> None:
        waiting = iter(self.ledger.accounts)

        async def open_one_by_one() -> None:
            for account in waiting:
                await self._open(account)

        async with asyncio.TaskGroup() as group:
            for _ in range(_OPENING_AT_ONCE):
                group.create_task(open_one_by_one())

    async def _open(self, account: Account) -> None:
        target, patience = self._target, self.plan.patience
        tab = Tab(target.request(account.execution_id), account, self.ledger)
        self._tabs.append(tab)
        try:
            async with asyncio.timeout(patience):
                await asyncio.get_running_loop().create_connection(
                    lambda: tab, target.host, target.port, ssl=self._tls
                )
                await tab.opened
        except TimeoutError:
            tab.give_up(f"the stream did not open within {patience:g} s")
        except OSError as error:
            tab.give_up(f"no connection: {error.strerror or error}")

    async def _publish(self, redis: Redis) -> None:
        """Publish at an even pace, one event of each execution in turn."""
        plan = self.plan
        executions = plan.execution_ids()
        begin = time.monotonic()
        while self.published < plan.total:
            due = min(plan.total, int((time.monotonic() - begin) * plan.rate) + 1)
            async with redis.pipeline(transaction=False) as pipeline:
                for index in range(self.published, min(due, self.published + _BATCH)):
                    turn, which = divmod(index, plan.executions)
                    event = compose(executions[which], turn + 1, plan.events, time.monotonic_ns())
                    pipeline.publish(self._target.channel(executions[which]), event)
                async with asyncio.timeout(_REDIS_TIMEOUT):
                    receivers = await pipeline.execute()
            self.published += len(receivers)
            self._unheard += receivers.count(0)
            # Also with no time left: the tabs need their turn.
            await asyncio.sleep(begin + self.published / plan.rate - time.monotonic())

    async def _wait_for_ends(self) -> None:
        """Until every tab has ended, or nothing at all has arrived for the plan's patience."""
        pending = {tab.ended for tab in self._tabs if not tab.ended.done()}
        while pending:
            before = self.ledger.latencies.count
            ended, pending = await asyncio.wait(pending, timeout=self.plan.patience)
            if not ended and self.ledger.latencies.count == before:
                return


@asynccontextmanager
async def _redis(url: str) -> AsyncIterator[Redis]:
    """A client that never repeats a command: a repeated PUBLISH would look like a duplicate."""
    redis = Redis.from_url(
        url,
        # Timed here instead: redis-py does it with `asyncio.wait_for`, which before Python 3.12 can
        # swallow a cancellation, and then Ctrl-C would go unheard.
        socket_timeout=None,
        socket_connect_timeout=_REDIS_TIMEOUT,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        driver_info=None,
    )
    async with redis:
        try:
            yield redis
        except REDIS_ERRORS as error:
            raise RedisUnavailable(f"The load test cannot publish. {in_words(error)}") from error


def _tls(target: Target) -> ssl.SSLContext:
    context = ssl.create_default_context()
    # The tabs speak HTTP/1.1 only; without this a proxy may choose HTTP/2.
    context.set_alpn_protocols(["http/1.1"])
    if target.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
