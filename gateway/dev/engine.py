"""A small simulated workflow engine: it registers executions and publishes their events.

It plays the part of the customer's workers in `sse-gateway dev`, in their format, over their
channel. The gateway does not know that it is there.
"""

import asyncio
import logging
import uuid
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from redis.asyncio import Redis

from gateway.bus.registry import register
from gateway.bus.trouble import REDIS_ERRORS, in_words
from gateway.contract.keys import channel
from gateway.dev.script import Moment, Script, message
from gateway.log import Sometimes

log = logging.getLogger(__name__)

ORGANIZATION = "dev-org"
WORKFLOW = "dev-workflow"
DEMO_EXECUTION = "demo"
"""Never ends, so that a line printed once always has something to show."""

_AT_ONCE = 4
_REMEMBERED = 12
_APPROVAL_SECONDS = 3.0
_RETRY_SECONDS = 1.0


@dataclass
class Run:
    """What the page lists of one execution."""

    execution_id: str
    started_at: str
    status: str = "running"
    steps: int = field(default=0)

    def document(self) -> dict[str, Any]:
        return {
            "id": self.execution_id,
            "status": self.status,
            "started_at": self.started_at,
            "steps": self.steps,
        }


class SimulatedEngine:
    """Keeps several executions going; `run` is its one task."""

    def __init__(self, redis: Redis, channel_prefix: str, pace: float = 1.0) -> None:
        """*pace*: how many times faster than life the runs go."""
        self._redis = redis
        self._prefix = channel_prefix
        self._pace = pace
        self._running: dict[str, Run] = {}
        self._ended: deque[Run] = deque(maxlen=_REMEMBERED)
        self._trouble_log = Sometimes(10.0)

    def executions(self) -> list[dict[str, Any]]:
        """The running executions and the last that ended, newest first, the endless one on top."""
        running = sorted(self._running.values(), key=lambda run: run.started_at, reverse=True)
        running.sort(key=lambda run: run.execution_id != DEMO_EXECUTION)
        return [run.document() for run in [*running, *reversed(self._ended)]]

    async def run(self) -> None:
        """Play runs, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._play(Script(DEMO_EXECUTION, endless=True)))
            for _ in range(_AT_ONCE):
                group.create_task(self._play_one_after_the_other())

    async def _play_one_after_the_other(self) -> None:
        while True:
            await self._play(Script(str(uuid.uuid4())))

    async def _play(self, script: Script) -> None:
        execution_id = script.execution_id
        run = Run(execution_id, datetime.now(UTC).isoformat())
        await self._insist(lambda: register(self._redis, execution_id, ORGANIZATION, WORKFLOW))
        self._running[execution_id] = run
        try:
            for moment in script:
                await asyncio.sleep(moment.wait / self._pace)
                payload = message(moment, datetime.now(UTC))
                target = channel(self._prefix, execution_id)
                await self._insist(lambda: self._redis.publish(target, payload))  # noqa: B023
                await self._note(run, moment)
        finally:
            del self._running[execution_id]
        self._ended.append(run)

    async def _note(self, run: Run, moment: Moment) -> None:
        match moment.type:
            case "step:started":
                run.steps += 1
                run.status = "running"
            case "execution:paused":
                run.status = "paused"
                await asyncio.sleep(_APPROVAL_SECONDS / self._pace)
            case "execution:completed" | "execution:failed":
                run.status = moment.type.partition(":")[2]

    async def _insist(self, call: Any) -> None:
        """Do *call* until Redis takes it."""
        while True:
            try:
                await call()
            except REDIS_ERRORS as error:
                if self._trouble_log.allows() is not None:
                    log.warning("The simulated engine waits: %s", in_words(error))
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return
