"""A churn: many executions begin, go on and end while many lists are open at two gateways, and
gateways, Redis, announcements and histories are taken away meanwhile."""

import asyncio
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff

from gateway.contract.keys import events_key, list_order_key
from gateway.publisher import Publisher
from gateway.tools.sse_parser import Frame
from gateway.tools.tail.runs import Changed, ListFollower, Summary, summaries
from tests.churn.model import Execution
from tests.conftest import credentials
from tests.harness import proc
from tests.harness.gateway_process import GatewayProcess
from tests.harness.program import running
from tests.harness.redis_process import RedisProcess
from tests.support import free_port

ORGANIZATIONS = ("acme", "other")
FILTERS: tuple[dict[str, str], ...] = (
    {}, {"workflow_id": "w1"}, {"status": "running,pending"}, {"status": "failed"}
)  # fmt: skip
_HANDS = 50
"""Executions that are worked on at once."""

_APART = 0.5
"""Seconds from the last event of the others to those of the newest: places are of the time when an
event was heard, which under load is up to a tenth of a second later."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How large a churn is."""

    executions: int
    streams: int
    limit: int
    per_second: float
    """Executions that begin."""
    settles_within: float
    """Seconds of silence after which every list must be right."""


SHORT = Plan(executions=120, streams=16, limit=10, per_second=60, settles_within=10.0)
LONG = Plan(executions=10_000, streams=200, limit=100, per_second=60, settles_within=60.0)


_SUMMARY = re.compile(rb'\{"execution_id":"([^"]+)".*"updated_at":"([^"]+)"')


@dataclass(slots=True, kw_only=True)
class Tab(ListFollower):
    """A list that is open, and what was wrong in it. It parses what it must, since hundreds of them
    share a core."""

    raw: dict[str, bytes] = field(default_factory=dict, init=False)
    newest: dict[str, bytes] = field(default_factory=dict, init=False)
    """The time of each execution that was shown last."""
    faults: list[str] = field(default_factory=list, init=False)

    async def watch(self) -> None:
        async for _ in self.follow():
            pass

    def take(self, frame: Frame) -> Iterator[Changed]:
        if frame.event == "executions:snapshot":
            self.raw.clear()
            for one in orjson.loads(frame.data)["executions"]:
                self._note(orjson.dumps(one))
        elif frame.event in ("execution:added", "execution:updated"):
            self._note(frame.data)
        elif frame.event == "execution:removed":
            self.raw.pop(orjson.loads(frame.data)["execution_id"], None)
        return iter(())

    def _note(self, summary: bytes) -> None:
        found = _SUMMARY.match(summary)
        assert found is not None, summary
        execution_id, time = found[1].decode(), found[2]
        if not execution_id.startswith(f"{self.organization}-"):
            self.faults.append(f"{execution_id} is not of {self.organization}")
        if time < self.newest.get(execution_id, b""):
            self.faults.append(f"{execution_id} is older than it was shown")
        self.newest[execution_id] = time
        self.raw[execution_id] = summary

    def look(self) -> list[Summary]:
        """What it shows now, in order."""
        self.show(summaries(map(orjson.loads, self.raw.values())))
        return self.shown


@dataclass
class Churn:
    """One run; *say* takes what is worth telling people."""

    plan: Plan
    seed: int
    say: Callable[[str], object]
    executions: list[Execution] = field(default_factory=list)
    tabs: list[Tab] = field(default_factory=list)
    newest: dict[str, list[Execution]] = field(default_factory=dict)

    async def run(self) -> list[str]:
        """What was wrong, in sentences."""
        self.chance = random.Random(self.seed)
        self.redis_process = RedisProcess("--appendonly", "yes")
        self.redis_process.start()
        async with AsyncExitStack() as stack:
            stack.callback(self.redis_process.clean_up)
            self.redis = await stack.enter_async_context(
                Redis.from_url(self.redis_process.url, retry=Retry(ConstantBackoff(0.1), 300))
            )
            self.publisher = await stack.enter_async_context(
                Publisher(self.redis_process.url, deadline=60)
            )
            self.gateways = [
                await stack.enter_async_context(running(GatewayProcess(self._settings())))
                for _ in range(2)
            ]
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            watching = [tasks.create_task(tab.watch()) for tab in self._open()]
            try:
                return await self._all()
            finally:
                for task in watching:
                    task.cancel()

    def _settings(self) -> dict[str, str]:
        return {
            "REDIS_URL": self.redis_process.gateway_url,
            "GATEWAY_PORT": str(free_port()),
            "GATEWAY_DRAIN_SECONDS": "0.1",
            "GATEWAY_MAX_STREAMS_PER_SUBJECT": "0",
            "GATEWAY_MAX_STREAMS_PER_ORGANIZATION": "0",
        }

    def _open(self) -> list[Tab]:
        for number in range(self.plan.streams):
            organization = ORGANIZATIONS[number // 2 % 2]
            self.tabs.append(
                Tab(
                    self.gateways[number % 2].url,
                    partial(credentials, organization),
                    organization=organization,
                    filters=FILTERS[number // 4 % len(FILTERS)],
                    limit=self.plan.limit,
                )
            )
        return self.tabs

    async def _all(self) -> list[str]:
        began, cpu = time.monotonic(), [proc.cpu_seconds(one.pid) for one in self.gateways]
        disturbing = asyncio.create_task(self._disturb())
        await self._live()
        await disturbing
        await self._finish()
        self.say(f"{len(self.executions)} executions in {time.monotonic() - began:.0f} s")
        silent = time.monotonic()
        while faults := await self._faults():
            if time.monotonic() > silent + self.plan.settles_within:
                break
            await asyncio.sleep(0.2)
        self.say(f"right {time.monotonic() - silent:.1f} s after the last event")
        for gateway, before in zip(self.gateways, cpu, strict=True):
            # One that was killed has begun again.
            spent = proc.cpu_seconds(gateway.pid) - before * (gateway is not self.gateways[0])
            self.say(f"gateway: {spent:.1f} s of CPU, {proc.rss_kib(gateway.pid) / 1024:.0f} MiB")
        return faults + [fault for tab in self.tabs for fault in tab.faults]

    async def _live(self) -> None:
        """All executions, so many at once; a third of them do not end."""
        numbers, began = iter(range(self.plan.executions)), time.monotonic()

        async def hand() -> None:
            for number in numbers:
                await asyncio.sleep(began + number / self.plan.per_second - time.monotonic())
                organization = ORGANIZATIONS[number % 2]
                one = Execution(f"{organization}-{number}", organization, f"w{number % 7}")
                await one.begin(self.publisher)
                self.executions.append(one)
                for _ in range(self.chance.randrange(4)):
                    await one.step(self.publisher, self.chance)
                if self.chance.random() < 0.1:
                    await self.redis.xtrim(events_key(one.execution_id), 2, approximate=False)
                    one.trimmed = True
                if self.chance.random() < 0.65:
                    await one.end(self.publisher, self.chance)

        await asyncio.gather(*(hand() for _ in range(_HANDS)))

    async def _disturb(self) -> None:
        """One disturbance after each sixth of the executions."""
        for number, disturb in enumerate((self._lose, self._kill, self._restart, self._lose), 1):
            while len(self.executions) < number * self.plan.executions // 6:
                await asyncio.sleep(0.01)
            self.say(f"{disturb.__name__.strip('_')} after {len(self.executions)} executions")
            await disturb()
        await self.starting

    async def _lose(self) -> None:
        """What is announced at this moment, no gateway hears."""
        self.redis_process.command("CLIENT", "KILL", "TYPE", "pubsub")

    async def _kill(self) -> None:
        await self.gateways[0].kill()
        # The executions go on while it starts.
        self.starting = asyncio.create_task(self.gateways[0].start())

    async def _restart(self) -> None:
        await asyncio.to_thread(self.redis_process.stop)
        await asyncio.to_thread(self.redis_process.start)

    async def _finish(self) -> None:
        """One more step in so many executions as a list shows: these, and no others, are the
        newest."""
        await asyncio.sleep(_APART)
        for organization in ORGANIZATIONS:
            running = [
                one
                for one in self.executions
                if one.organization == organization and one.status == "running"
            ]
            self.newest[organization] = running[: self.plan.limit]
            for one in self.newest[organization]:
                await one.step(self.publisher, self.chance)

    async def _faults(self) -> list[str]:
        """What the lists show and should not."""
        known = {one.execution_id: one for one in self.executions}
        order = {one: await self._order(one) for one in ORGANIZATIONS}
        found = []
        for organization, newest in self.newest.items():
            if {*order[organization][: len(newest)]} != {one.execution_id for one in newest}:
                found.append(f"the newest of {organization} are not the first of its index")
        for tab in self.tabs:
            looks = tab.look()
            found += [fault for one in looks if (fault := known[one.execution_id].fault(one))]
            wanted = [one for one in order[tab.organization] if known[one].matches(tab.filters)]
            shown = [one.execution_id for one in looks]
            if shown != wanted[: tab.limit]:
                lacks, adds = {*wanted[: tab.limit]} - {*shown}, {*shown} - {*wanted[: tab.limit]}
                found.append(f"{tab.url}{tab.path}: lacks {lacks}, adds {adds}, or is out of order")
        return found

    async def _order(self, organization: str) -> list[str]:
        """The executions of the index, the newest first."""
        scores: Any = await self.redis.zrange(list_order_key(organization), 0, -1, withscores=True)
        return [name.decode() for name, _ in sorted(scores, key=lambda one: (-one[1], one[0]))]
