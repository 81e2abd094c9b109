"""What takes part in a soak: as in `tests.delivery`, but executions start and end all the time."""

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

_ENDED_WITHIN = 40.0
"""Seconds from the end of an execution until every tab has seen it: a failover may come between."""

_KINDS: tuple[Kind, ...] = ("publisher", "bare", "mixed")


@dataclass(frozen=True, slots=True)
class Fault:
    """What was done on purpose, and when (seconds since the epoch)."""

    name: str
    began: float
    ended: float


class SoakStage(Stage):
    """Redis, two gateways, and executions with their producers and readers."""

    def __init__(self, plan: Plan, seed: int) -> None:
        super().__init__(plan.scenario, seed)
        self.plan = plan
        self.faults: list[Fault] = []
        self.counted: Counter[str] = Counter()
        """What has happened, by name; a soak in which little happens proves little."""
        self.ends: list[float] = []
        """When each execution was over (seconds since the epoch)."""
        self.redis_lock = asyncio.Lock()
        """Held while an execution is registered, ended or checked, and while Redis may lose its
        last writes: the former must not rely on these."""
        self.round_is_over = asyncio.Event()
        """Set at the end of a round: no execution starts any more, and all come to their end."""
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
    async def running_executions(self) -> AsyncIterator[asyncio.TaskGroup]:
        """While the block runs, executions start and end, each with its readers; after it the last
        ones end. Other tasks may be added to the group; they end at `round_is_over`."""
        self.round_is_over = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(self.plan.executions):
                    tasks.create_task(self._executions_in_turn())
                yield tasks
                self.round_is_over.set()
        finally:
            # Also after a failure: a task that is not stopped could run without end.
            self.round_is_over.set()

    async def _executions_in_turn(self) -> None:
        while not self.round_is_over.is_set():
            execution = await self._start()
            await self._run(execution, self.chance.uniform(0.3, 1.7) * self.plan.execution_seconds)
            await self._forget(execution)

    async def _start(self) -> Execution:
        assert self._registrar is not None
        number = next(self._numbers)
        kind = _KINDS[number % len(_KINDS)]
        async with self.redis_lock:
            await self._registrar.register(f"soak-{number}-{kind}", ORGANIZATION)
            return self.add_execution(f"soak-{number}-{kind}", kind)

    async def _run(self, execution: Execution, seconds: float) -> None:
        """Run the producers and readers of an execution to its end, and check that nothing was
        lost."""
        async with asyncio.TaskGroup() as tasks:
            working = [
                tasks.create_task(producer.run(execution.stop)) for producer in execution.producers
            ]
            for reader in execution.readers:
                tasks.create_task(reader.run())
            try:
                await wait_for(self.round_is_over, seconds)
            finally:
                # Also when a reader has failed: redis-py under Python 3.11 may swallow a
                # cancellation, and a producer that is not stopped would run without end.
                execution.stop.set()
            await asyncio.gather(*working)
            async with self.redis_lock:
                await end(self, execution)
            await all_told(execution, _ENDED_WITHIN)
            tasks.create_task(self.add_reader(execution, Reader).run())
            await all_told(execution, _ENDED_WITHIN)
            async with self.redis_lock:
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
