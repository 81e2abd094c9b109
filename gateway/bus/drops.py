"""What becomes of messages that are not passed on as they are: counted, logged, and visible in
`sse-gateway status` and `/streams`."""

import logging
import time
from collections import deque
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis

from gateway.bus import scripts
from gateway.bus.errors import REDIS_ERRORS
from gateway.contract.scripts import dropped_call
from gateway.events.envelope import Edit
from gateway.log import RateLimitedLog
from gateway.metrics import Metrics

log = logging.getLogger(__name__)

LOG_INTERVAL = 10.0
"""Seconds between two log lines about the messages of one execution."""

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
    log: RateLimitedLog = field(default_factory=lambda: RateLimitedLog(LOG_INTERVAL))


class Drops:
    """Counts and logs for one gateway."""

    def __init__(self, redis: Redis, metrics: Metrics) -> None:
        self._redis = redis
        self._metrics = metrics
        self._logged_at: deque[float] = deque(maxlen=_MOST_LINES)
        self._other_log = RateLimitedLog(LOG_INTERVAL)
        self._edit_logs = {
            "renumbered": RateLimitedLog(60.0), "repaired": RateLimitedLog(LOG_INTERVAL),
            "trimmed": RateLimitedLog(LOG_INTERVAL), "replaced": RateLimitedLog(LOG_INTERVAL),
        }  # fmt: skip
        self.executions: dict[str, Dropped] = {}
        """By id, those that had a message dropped; the latest one last."""

    def dropped(
        self, channel: bytes, execution_id: str | None, reason: str
    ) -> Coroutine[Any, Any, None] | None:
        """A message was dropped; returns what is left to do, if anything."""
        self._metrics.events_dropped["malformed"] += 1
        if execution_id is None:
            self._other_log.warning(
                log, "Dropped a message on channel %r: %s.", channel[:200], reason
            )
            return None
        known = self.executions.pop(execution_id, None) or Dropped()
        self.executions[execution_id] = known
        if len(self.executions) > _MOST:
            del self.executions[next(iter(self.executions))]
        known.messages += 1
        known.reason = reason[:200]
        now = time.monotonic()
        is_flood = len(self._logged_at) == _MOST_LINES and now < self._logged_at[0] + LOG_INTERVAL
        if is_flood or (held_back := known.log.due()) is None:
            return None
        self._logged_at.append(now)
        log.warning(
            "Dropped a message on channel %r: %s. (%d more were dropped since the last line.)",
            channel[:200],
            reason,
            held_back,
        )
        return self._store(execution_id, known)

    def edited(self, execution_id: str, edit: Edit) -> None:
        """An event was not passed on as it was published."""
        self._metrics.events_edited[edit.kind] += 1
        self._edit_logs[edit.kind].warning(
            log, "An event of %s was %s: %s.", execution_id, _DONE[edit.kind], edit.reason
        )

    async def _store(self, execution_id: str, known: Dropped) -> None:
        # For `sse-gateway status` alone: the log and the metrics have it.
        with suppress(*REDIS_ERRORS):
            await scripts.run(self._redis, dropped_call(execution_id, known.messages, known.reason))


_DONE = {
    "repaired": "repaired",
    "trimmed": "trimmed",
    "replaced": "replaced by one of its type without its data",
    "renumbered": "given another id",
}
