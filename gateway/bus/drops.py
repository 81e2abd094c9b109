"""Messages that were dropped or edited: counts them, logs them, and shows them in
`sse-gateway status` and `/streams`."""

import logging
import time
from collections import deque
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from gateway.bus import scripts
from gateway.bus.errors import REDIS_ERRORS
from gateway.contract.scripts import Call, dropped_call
from gateway.events.envelope import Edit
from gateway.harmless import harmless
from gateway.log import RateLimitedLog
from gateway.metrics import Metrics

log = logging.getLogger(__name__)

LOG_INTERVAL = 10.0
"""Seconds between two log lines about the messages of one execution."""

STORE_INTERVAL = 10.0
"""Seconds between two writes to Redis about them; each has at most `_MOST_LINES` executions."""

_MOST_LINES = 100
"""Most lines about all executions in these seconds."""

_MOST = 1000
"""Most executions remembered."""


@dataclass(slots=True)
class Dropped:
    """The dropped messages of one execution."""

    messages: int = 0
    reason: str = ""
    """Of the last one."""


class Drops:
    """Counts and logs for one gateway; `tick` is to be called every `tick_seconds`."""

    def __init__(self, redis: Redis, metrics: Metrics) -> None:
        self._redis = redis
        self._metrics = metrics
        self._logged_at: deque[float] = deque(maxlen=_MOST_LINES)
        self._logs: dict[tuple[str | None, str], RateLimitedLog] = {}
        self._unstored: set[str] = set()
        self.tick_seconds = STORE_INTERVAL
        self.executions: dict[str, Dropped] = {}
        """By id, those that had a message dropped; the latest one last."""

    def dropped(self, channel: bytes, execution_id: str | None, reason: str) -> None:
        """A message was dropped."""
        self._metrics.events_dropped["malformed"] += 1
        name = harmless(channel[:200].decode(errors="replace"))
        self._log(execution_id, "dropped", "Dropped a message on channel %s: %s.", name, reason)
        if execution_id is None:
            return
        known = self.executions.pop(execution_id, None) or Dropped()
        self.executions[execution_id] = known
        if len(self.executions) > _MOST:
            del self.executions[next(iter(self.executions))]
        known.messages += 1
        known.reason = reason[:200]
        if len(self._unstored) < _MOST_LINES:
            self._unstored.add(execution_id)

    def edited(self, execution_id: str, edit: Edit) -> None:
        """An event was not passed on as it was published."""
        self._metrics.events_edited[edit.kind] += 1
        self._log(
            *(execution_id, edit.kind, "An event of %s was %s: %s."),
            *(execution_id, _DONE[edit.kind], edit.reason),
        )

    def _log(self, execution_id: str | None, kind: str, message: str, *values: object) -> None:
        """Of each execution and *kind* one line at first, unless there are too many of all, and
        then one in an interval."""
        known = self._logs.pop((execution_id, kind), None)
        if known is None:
            known = RateLimitedLog(60.0 if kind == "renumbered" else LOG_INTERVAL)
        self._logs[execution_id, kind] = known
        if len(self._logs) > _MOST:
            del self._logs[next(iter(self._logs))]
        now = time.monotonic()
        is_flood = len(self._logged_at) == _MOST_LINES and now < self._logged_at[0] + LOG_INTERVAL
        if is_flood or (held_back := known.due()) is None:
            return
        self._logged_at.append(now)
        log.warning(f"{message} (%d more since the last line.)", *values, held_back)

    def tick(self) -> Coroutine[Any, Any, None] | None:
        """Store what is new, for `sse-gateway status` alone: the log and the metrics have it."""
        known = [(one, self.executions[one]) for one in self._unstored if one in self.executions]
        self._unstored.clear()
        calls = [dropped_call(name, one.messages, one.reason) for name, one in known]
        return self._store(calls) if calls else None

    async def _store(self, calls: list[Call]) -> None:
        with suppress(*REDIS_ERRORS):
            await scripts.run_all(self._redis, calls)


_DONE = {
    "repaired": "repaired",
    "trimmed": "trimmed",
    "replaced": "replaced by one of its type without its data",
    "renumbered": "given another id",
}
