"""A small simulated workflow engine: it registers executions and publishes their events.

It plays the part of the customer's workers in `sse-gateway dev`: in their format, over their
channels, through a connection of its own. The gateway does not know that it is there.
"""

import asyncio
import heapq
import itertools
import logging
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

from redis.asyncio import Redis

from gateway.bus.errors import REDIS_ERRORS, describe_redis_error
from gateway.bus.registry import register
from gateway.contract.keys import channel, meta_key
from gateway.errors import LimitReached
from gateway.retry import Backoff
from gateway.tools.dev.script import DEMO, STARTED, WORKFLOWS, Workflow
from gateway.tools.dev.simulation import Pause, Run, SimulationStep, draw, simulate, simulate_steps

log = logging.getLogger(__name__)

ORGANIZATION = "dev-org"

DEMO_EXECUTION = "demo"
"""Never ends, so that a line printed once always has something to show."""

_AT_ONCE = 4
"""Executions that run beside the endless one."""

_REMEMBERED = 12
"""Ended executions that are still listed."""

_REGISTERED_SECONDS = 24 * 3600
"""How long a registration outlives its execution: a Redis of the user's own is not littered."""


_MOST_STARTED = 20
"""Executions that somebody has started and that run, at once."""

_UNTIL_THE_NEXT: Pause = (0.5, 3.0)

Command = Callable[[], Awaitable[object]]
Action = tuple[Command, float]
"""What happens next in an execution, and seconds until something else does."""


class SimulatedEngine:
    """Keeps several executions going; `run` is its one task."""

    def __init__(self, redis: Redis, *, channel_prefix: str, pace: float = 1.0) -> None:
        """*pace*: how many times faster than life the executions go, above 0."""
        self._redis = redis
        self._prefix = channel_prefix
        self._pace = pace
        self._workflows = itertools.cycle(WORKFLOWS)
        self._running: dict[str, Run] = {}
        self._started: deque[Iterator[Action]] = deque()
        self._woken = asyncio.Event()
        self._ended: deque[Run] = deque(maxlen=_REMEMBERED)

    def executions(self) -> list[dict[str, Any]]:
        """The endless execution, the others that run and the last that ended, newest first."""
        demo = [run for run in self._running.values() if run.execution_id == DEMO_EXECUTION]
        others = [run for run in self._running.values() if run.execution_id != DEMO_EXECUTION]
        return [run.document() for run in (*demo, *reversed(others), *reversed(self._ended))]

    def start(self, ending: str) -> str:
        """Begin one more execution, which ends so (one of `ENDINGS`); its id.

        Raises:
            LimitReached: too many that were started so still run.
        """
        if len(self._started) + len(self._running) > _AT_ONCE + 1 + _MOST_STARTED:
            raise LimitReached("Enough executions run already: wait until some have ended.")
        run = Run(str(uuid.uuid4()), STARTED[ending].workflow_id)
        self._running[run.execution_id] = run
        self._started.append(self._once(run, STARTED[ending]))
        self._woken.set()
        return run.execution_id

    def pause(self, execution_id: str) -> bool:
        """Pause before the next step until `approve`; False if there is no such execution."""
        run = self._running.get(execution_id)
        if run is not None:
            run.is_held = True
        return run is not None

    def approve(self, execution_id: str) -> bool:
        """Let a paused execution go on; False if there is no such execution."""
        run = self._running.get(execution_id)
        if run is not None:
            run.is_held, run.is_approved = False, True
        return run is not None

    async def run(self) -> None:
        """Play, for ever; a Redis that is away is waited for.

        One task for all executions, since one that is cancelled in the middle of a command may
        have to be cancelled again (see `gateway.tasks`), and a task group cancels but once.
        """
        now = asyncio.get_running_loop().time
        # The number decides between two that are due at the same moment.
        agenda = [(now(), 0, self._demo())]
        for number in range(1, _AT_ONCE + 1):
            first = now() + draw(_UNTIL_THE_NEXT, self._pace)
            heapq.heappush(agenda, (first, number, self._one_after_the_other()))
        numbers = itertools.count(_AT_ONCE + 1)
        while True:
            while self._started:
                heapq.heappush(agenda, (now(), next(numbers), self._started.popleft()))
            due, number, lane = agenda[0]
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, due - now())):
                    await self._woken.wait()
                    self._woken.clear()
                    continue
            heapq.heappop(agenda)
            if (action := next(lane, None)) is not None:
                command, seconds = action
                await _retry(command)
                heapq.heappush(agenda, (now() + seconds, number, lane))

    def _demo(self) -> Iterator[Action]:
        run = Run(DEMO_EXECUTION, DEMO.workflow_id)
        while True:
            # In each round anew, for a Redis that has lost its memory.
            yield self._begin(run, DEMO)
            yield from self._actions(run, simulate_steps(run, DEMO, self._pace))

    def _one_after_the_other(self) -> Iterator[Action]:
        while True:
            workflow = next(self._workflows)
            yield from self._once(Run(str(uuid.uuid4()), workflow.workflow_id), workflow)
            yield _nothing, draw(_UNTIL_THE_NEXT, self._pace)

    def _once(self, run: Run, workflow: Workflow) -> Iterator[Action]:
        yield self._begin(run, workflow)
        for action in self._actions(run, simulate(run, workflow, self._pace)):
            if run.is_over:
                del self._running[run.execution_id]
                self._ended.append(run)
            yield action
        key = meta_key(run.execution_id)
        yield partial(self._redis.expire, key, _REGISTERED_SECONDS), 0.0

    def _begin(self, run: Run, workflow: Workflow) -> Action:
        """Register *run* before its first event, as whoever starts executions must."""
        self._running[run.execution_id] = run
        what = (self._redis, run.execution_id, ORGANIZATION, workflow.workflow_id)
        return partial(register, *what), 0.0

    def _actions(self, run: Run, beats: Iterator[SimulationStep]) -> Iterator[Action]:
        target = channel(self._prefix, run.execution_id)
        for payload, seconds in beats:
            yield partial(self._redis.publish, target, payload) if payload else _nothing, seconds


async def _nothing() -> None:
    """Nothing happens: somebody is waited for."""


async def _retry(command: Command) -> None:
    """Do *command*, for as long as it takes until Redis takes it."""
    backoff = Backoff(0.4, 3.0)
    is_waiting = False
    while True:
        try:
            await command()
        except REDIS_ERRORS as error:
            if not is_waiting:
                log.warning("The simulated engine waits: %s", describe_redis_error(error))
            is_waiting = True
            await asyncio.sleep(backoff.next())
        else:
            return
