"""A small simulated workflow engine: it registers executions and publishes their events.

It does what workers do, through its own connection; the gateway does not know that it exists.
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
from gateway.tools.dev.simulation import (
    DEMO,
    STARTABLE,
    WORKFLOWS,
    Range,
    Run,
    SimulationStep,
    Workflow,
    draw,
    simulate,
    simulate_steps,
)

log = logging.getLogger(__name__)

ORGANIZATION = "dev-org"

DEMO_EXECUTION = "demo"
"""Never ends, so that the printed commands always have something to show."""

_AT_ONCE = 4
"""Executions that run beside the demo."""

_REMEMBERED = 12
"""Ended executions that are still listed."""

_REGISTERED_SECONDS = 24 * 3600
"""How long a registration stays after the end, since the Redis may be the user's."""

_MOST_STARTED = 20
"""Started executions that run at the same time."""

_UNTIL_THE_NEXT: Range = (0.5, 3.0)

Command = Callable[[], Awaitable[object]]
Action = tuple[Command, float]
"""What happens next in an execution, and the seconds until its next action."""


class SimulatedEngine:
    """Runs several executions; `run` is its only task."""

    def __init__(self, redis: Redis, *, channel_prefix: str, pace: float = 1.0) -> None:
        """*pace*: speed of the executions, above 0; 2 is twice as fast."""
        self._redis = redis
        self._prefix = channel_prefix
        self._pace = pace
        self._workflows = itertools.cycle(WORKFLOWS)
        self._running: dict[str, Run] = {}
        self._started: deque[Iterator[Action]] = deque()
        self._wake = asyncio.Event()
        self._ended: deque[Run] = deque(maxlen=_REMEMBERED)

    def executions(self) -> list[dict[str, Any]]:
        """The demo, the others that run and the last that ended, newest first."""
        demo = [run for run in self._running.values() if run.execution_id == DEMO_EXECUTION]
        others = [run for run in self._running.values() if run.execution_id != DEMO_EXECUTION]
        return [run.document() for run in (*demo, *reversed(others), *reversed(self._ended))]

    def start(self, ending: str) -> str:
        """Start one more execution, with this *ending* (one of `ENDINGS`); returns its id.

        Raises:
            LimitReached: too many started executions still run.
        """
        if len(self._started) + len(self._running) > _AT_ONCE + 1 + _MOST_STARTED:
            raise LimitReached("Too many executions run: wait until some have ended.")
        run = Run(str(uuid.uuid4()), STARTABLE[ending].workflow_id)
        self._running[run.execution_id] = run
        self._started.append(self._once(run, STARTABLE[ending]))
        self._wake.set()
        return run.execution_id

    def pause(self, execution_id: str) -> bool:
        """Pause before the next step until `approve`; False if there is no such execution."""
        run = self._running.get(execution_id)
        if run is not None:
            run.pause_requested = True
        return run is not None

    def approve(self, execution_id: str) -> bool:
        """Let a paused execution continue; False if there is no such execution."""
        run = self._running.get(execution_id)
        if run is not None:
            run.pause_requested, run.is_approved = False, True
        return run is not None

    async def run(self) -> None:
        """Run until cancelled; while Redis is away, wait.

        One task for all executions: a task that is cancelled during a command may have to be
        cancelled again (see `gateway.tasks`), and a task group cancels only once.
        """
        now = asyncio.get_running_loop().time
        # The number decides between two that are due at the same time.
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
                    await self._wake.wait()
                    self._wake.clear()
                    continue
            heapq.heappop(agenda)
            if (action := next(lane, None)) is not None:
                command, seconds = action
                await _retry(command)
                heapq.heappush(agenda, (now() + seconds, number, lane))

    def _demo(self) -> Iterator[Action]:
        run = Run(DEMO_EXECUTION, DEMO.workflow_id)
        while True:
            # In each round, in case Redis has lost its data.
            yield self._register(run, DEMO)
            yield from self._actions(run, simulate_steps(run, DEMO, self._pace))

    def _one_after_the_other(self) -> Iterator[Action]:
        while True:
            workflow = next(self._workflows)
            yield from self._once(Run(str(uuid.uuid4()), workflow.workflow_id), workflow)
            yield _nothing, draw(_UNTIL_THE_NEXT, self._pace)

    def _once(self, run: Run, workflow: Workflow) -> Iterator[Action]:
        yield self._register(run, workflow)
        for action in self._actions(run, simulate(run, workflow, self._pace)):
            if run.is_over:
                del self._running[run.execution_id]
                self._ended.append(run)
            yield action
        key = meta_key(run.execution_id)
        yield partial(self._redis.expire, key, _REGISTERED_SECONDS), 0.0

    def _register(self, run: Run, workflow: Workflow) -> Action:
        self._running[run.execution_id] = run
        execution = (run.execution_id, ORGANIZATION, workflow.workflow_id)
        return partial(register, self._redis, *execution), 0.0

    def _actions(self, run: Run, steps: Iterator[SimulationStep]) -> Iterator[Action]:
        target = channel(self._prefix, run.execution_id)
        for payload, seconds in steps:
            yield partial(self._redis.publish, target, payload) if payload else _nothing, seconds


async def _nothing() -> None:
    """The execution waits."""


async def _retry(command: Command) -> None:
    """Repeat *command* until Redis accepts it."""
    backoff = Backoff(0.4, 3.0)
    is_waiting = False
    while True:
        try:
            await command()
        except REDIS_ERRORS as error:
            if not is_waiting:
                log.warning("The simulated engine retries: %s", describe_redis_error(error))
            is_waiting = True
            await asyncio.sleep(backoff.next())
        else:
            return
