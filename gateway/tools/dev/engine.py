"""A small simulated workflow engine: it registers executions and publishes their events.

It does what workers do that use `Publisher`: a restart of the gateway or of Redis loses none of its
events, and doubles none. The gateway does not know that it exists.
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

import orjson

from gateway.errors import LimitReached
from gateway.publisher import Publisher, PublishFailed, RegistrationRefused, RunRestarted
from gateway.retry import Backoff
from gateway.tools.dev.simulation import (
    DEMO,
    STARTABLE,
    WORKFLOWS,
    Range,
    Run,
    Workflow,
    draw,
    simulate,
)

log = logging.getLogger(__name__)

ORGANIZATION = "dev-org"

DEMO_EXECUTION = "demo"
"""Begins again when it has ended, so that the printed commands always have something to show."""

_AT_ONCE = 4
"""Executions that run beside the demo."""

_COUNTED = 200
"""Executions whose events are counted."""

_MOST_STARTED = 20
"""Started executions that run at the same time."""

_UNTIL_THE_NEXT: Range = (0.5, 3.0)
_UNTIL_DEMO_BEGINS_AGAIN: Range = (4.0, 6.0)

Command = Callable[[], Awaitable[object]]
Action = tuple[Command, float]
"""What happens next in an execution, and the seconds until its next action."""


class SimulatedEngine:
    """Runs several executions; `run` is its only task."""

    def __init__(self, publisher: Publisher, *, pace: float = 1.0) -> None:
        """*pace*: speed of the executions, above 0; 2 is twice as fast."""
        self._publisher = publisher
        self._pace = pace
        self.published: dict[str, int] = {}
        """How many events Redis has accepted, by execution: the latest run of each."""
        self._workflows = itertools.cycle(WORKFLOWS)
        self._running: dict[str, Run] = {}
        self._started: deque[Iterator[Action]] = deque()
        self._wake = asyncio.Event()

    def runs(self, execution_id: str) -> bool:
        """Whether it runs this execution now, and takes commands for it."""
        return execution_id in self._running

    def start(self, ending: str) -> Run:
        """Start one more execution, with this *ending* (one of `ENDINGS`).

        Raises:
            LimitReached: too many started executions still run.
        """
        if len(self._started) + len(self._running) > _AT_ONCE + 1 + _MOST_STARTED:
            raise LimitReached("Too many executions run: wait until some have ended.")
        run = Run(str(uuid.uuid4()), STARTABLE[ending].workflow_id)
        self._running[run.execution_id] = run
        self._started.append(self._once(run, STARTABLE[ending]))
        self._wake.set()
        return run

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
        begins_again = False
        while True:
            run = Run(DEMO_EXECUTION, DEMO.workflow_id)
            yield from self._once(run, DEMO, begins_again=begins_again)
            yield _nothing, draw(_UNTIL_DEMO_BEGINS_AGAIN, self._pace)
            begins_again = True

    def _one_after_the_other(self) -> Iterator[Action]:
        while True:
            workflow = next(self._workflows)
            yield from self._once(Run(str(uuid.uuid4()), workflow.workflow_id), workflow)
            yield _nothing, draw(_UNTIL_THE_NEXT, self._pace)

    def _once(
        self, run: Run, workflow: Workflow, *, begins_again: bool = False
    ) -> Iterator[Action]:
        self._running[run.execution_id] = run
        yield partial(self._register, run), 0.0
        if begins_again:
            yield partial(self._restart, run.execution_id, str(uuid.uuid4())), 0.0
        for payload, seconds in simulate(run, workflow, self._pace):
            if run.is_over:
                del self._running[run.execution_id]
            # A retry has the same key, and doubles nothing.
            key = str(uuid.uuid4())
            publish = partial(self._publish, run, payload or b"", key)
            yield publish if payload else _nothing, seconds

    async def _restart(self, execution_id: str, key: str) -> None:
        await self._publisher.restart(execution_id, idempotency_key=key)
        self.published[execution_id] = 1

    async def _register(self, run: Run) -> None:
        await self._publisher.register(run.execution_id, ORGANIZATION, run.workflow_id)

    async def _publish(self, run: Run, payload: bytes, key: str) -> None:
        event, execution_id = orjson.loads(payload), run.execution_id
        try:
            event_id = await self._publisher.publish(
                execution_id,
                event["type"],
                event["data"],
                timestamp=event["timestamp"],
                idempotency_key=key,
            )
        except RunRestarted:
            # Somebody has restarted or deleted it: no event of this run counts any more.
            return
        if event_id.endswith("-1"):
            # The first one, or Redis was started again, perhaps without its data.
            await self._register(run)
        self.published[execution_id] = self.published.pop(execution_id, 0) + 1
        if len(self.published) > _COUNTED:
            del self.published[next(iter(self.published))]


async def _nothing() -> None:
    """The execution waits."""


async def _retry(command: Command) -> None:
    """Repeat *command* until Redis accepts it."""
    backoff = Backoff(0.4, 3.0)
    is_waiting = False
    while True:
        try:
            await command()
        except PublishFailed as error:
            if not is_waiting:
                log.warning("The simulated engine retries: %s", error)
            is_waiting = True
            await asyncio.sleep(backoff.next())
        except RegistrationRefused as error:
            log.warning("The simulated engine continues without a registration: %s", error)
            return
        else:
            return
