"""The stage of a soak: that of `tests.delivery`, where executions begin and end all the time."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from gateway.publisher import Publisher
from tests.delivery.play import all_told, check, end
from tests.delivery.reader import Reader
from tests.delivery.stage import Execution, Kind, Stage
from tests.soak.plan import Plan

ORGANIZATION = "acme"
"""Whose all executions are."""

_TOLD_WITHIN = 40.0
"""Seconds from the end of an execution until every tab has seen it: a failover may come between."""

_KINDS: tuple[Kind, ...] = ("publisher", "bare", "mixed")


@dataclass(frozen=True, slots=True)
class Fault:
    """What was done on purpose, and when (seconds since the epoch)."""

    name: str
    began: float
    ended: float


class SoakStage(Stage):
    """Redis, two gateways, and executions with their people, as long as a soak lasts."""

    def __init__(self, plan: Plan, seed: int) -> None:
        super().__init__(plan.scenario, seed)
        self.plan = plan
        self.faults: list[Fault] = []
        self.counted: Counter[str] = Counter()
        """What has happened, by name; a soak in which little happens proves little."""
        self.ends: list[float] = []
        """When each execution was over (seconds since the epoch)."""
        self.tune_gc = asyncio.Lock()
        """Held by whoever begins, ends or checks an execution, and by faults in which Redis is
        away or may lose what it was told last: nobody must have relied on that."""
        self.closing_time = asyncio.Event()
        """Set at the end of an act: nothing new begins, and executions come to their end."""
        self._registrar: Publisher | None = None
        self._numbers = itertools.count(1)

    async def open(self) -> None:
        await super().open()
        self._registrar = Publisher(self.backend.url, deadline=20.0, limits=self.scenario.limits)

    async def close(self) -> None:
        if self._registrar is not None:
            await self._registrar.close()
        await super().close()

    @contextmanager
    def fault(self, name: str) -> Iterator[None]:
        """What happens in this block is done on purpose."""
        began = time.time()
        try:
            yield
        finally:
            self.faults.append(Fault(name, began, time.time()))
            self.counted[f"fault: {name}"] += 1

    @asynccontextmanager
    async def open_house(self) -> AsyncIterator[asyncio.TaskGroup]:
        """For as long as the block runs executions begin and end, each with its tabs; at its end
        the last ones end and all tabs go home. Further people may be added to the group; they leave
        at `closing_time`."""
        self.closing_time = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as people:
                for _ in range(self.plan.executions):
                    people.create_task(self._one_after_the_other())
                yield people
                self.closing_time.set()
        finally:
            # Also when it has failed: who is not stopped could go on for ever.
            self.closing_time.set()

    async def _one_after_the_other(self) -> None:
        while not self.closing_time.is_set():
            execution = await self._begin()
            await self._play(execution, self.chance.uniform(0.3, 1.7) * self.plan.life)
            await self._forget(execution)

    async def _begin(self) -> Execution:
        assert self._registrar is not None
        number = next(self._numbers)
        kind = _KINDS[number % len(_KINDS)]
        async with self.tune_gc:
            await self._registrar.register(f"soak-{number}-{kind}", ORGANIZATION)
            return self.add_execution(f"soak-{number}-{kind}", kind)

    async def _play(self, execution: Execution, seconds: float) -> None:
        """Let producers and tabs go about an execution until it is over, and see that nothing was
        lost."""
        async with asyncio.TaskGroup() as people:
            working = [
                people.create_task(producer.run(execution.stop)) for producer in execution.producers
            ]
            for reader in execution.readers:
                people.create_task(reader.run())
            try:
                await wait_for(self.closing_time, seconds)
            finally:
                # Also when a tab has complained: redis-py under Python 3.11 may swallow a
                # cancellation, and a producer that nobody else stops would go on for ever.
                execution.stop.set()
            await asyncio.gather(*working)
            async with self.tune_gc:
                await end(self, execution)
            await all_told(execution, _TOLD_WITHIN)
            people.create_task(self.add_reader(execution, Reader).run())
            await all_told(execution, _TOLD_WITHIN)
            async with self.tune_gc:
                await check(self, execution)

    async def _forget(self, execution: Execution) -> None:
        self.executions.remove(execution)
        self.ends.append(time.time())
        self.counted["executions"] += 1
        for reader in execution.readers:
            self.counted["tabs"] += 1
            self.counted["connections"] += reader.connections
            self.counted["events seen"] += len(reader.journal.view)
        for producer in execution.producers:
            self.counted["events announced"] += producer.possible.total()
            await producer.close()


async def wait_for(moment: asyncio.Event, seconds: float) -> None:
    """Wait until *moment*, *seconds* at most."""
    waiting = asyncio.ensure_future(moment.wait())
    await asyncio.wait([waiting], timeout=seconds)
    waiting.cancel()
