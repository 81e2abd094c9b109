"""Notices events of executions that nobody registered, and says so in the log.

Under ownership `registry` such an execution is a 404 for everybody, which a team that only
PUBLISHes meets on its first day. It does not decide anything: the events are delivered as usual.

What was recorded before a registration is kept for a short time. The script that registers makes
that the usual time, a plain HSET does not: whoever has one by the next check is given it here.
"""

import asyncio
import logging
from collections import Counter, OrderedDict

from gateway.bus.registry import Registry
from gateway.contract.keys import PROBE_PREFIX
from gateway.contract.scripts import HistoryLimits
from gateway.errors import RedisUnavailable
from gateway.settings import variable

log = logging.getLogger(__name__)

CHECK_INTERVAL = 60.0
"""Seconds between two checks, and so between two warnings."""

_MOST = 1000
"""Most executions remembered, known or not: a flood of new ids must not grow the process."""

_DEFAULT_LIMITS = HistoryLimits()


class UnregisteredWatch:
    """Counts events of executions not known to be registered; `run` is its one task."""

    def __init__(
        self,
        registry: Registry,
        interval: float = CHECK_INTERVAL,
        *,
        limits: HistoryLimits = _DEFAULT_LIMITS,
    ) -> None:
        """*limits* say how long an execution is kept once it is registered."""
        self._registry = registry
        self._interval = interval
        self._limits = limits
        self._waiting: OrderedDict[str, None] = OrderedDict()
        self._registered: OrderedDict[str, None] = OrderedDict()
        self._unknown: Counter[str] = Counter()

    def note_events(self, execution_id: str, events: int) -> None:
        """*events* of this execution have arrived; costs two look-ups, no I/O."""
        if execution_id in self._registered or execution_id.startswith(PROBE_PREFIX):
            return
        if execution_id in self._unknown or len(self._unknown) < _MOST:
            self._unknown[execution_id] += events

    async def run(self) -> None:
        """Check what has been seen, for ever."""
        while True:
            await asyncio.sleep(self._interval)
            if self._unknown or self._waiting:
                await self._check()

    async def _check(self) -> None:
        seen, self._unknown = self._unknown, Counter()
        try:
            asked = list({**seen, **self._waiting})
            unregistered = await self._registry.unregistered(asked)
            found = set(asked) - set(unregistered)
            await self._registry.keep(found, self._limits)
        except RedisUnavailable:
            # Health tells of it; the question is asked again at the next check.
            self._unknown = seen + self._unknown
            return
        for execution_id in found:
            self._registered[execution_id] = None
            self._waiting.pop(execution_id, None)
        self._waiting.update(dict.fromkeys(unregistered))
        for remembered in (self._registered, self._waiting):
            while len(remembered) > _MOST:
                remembered.popitem(last=False)
        unregistered = [one for one in unregistered if one in seen]
        if unregistered:
            log.warning(
                "%d events arrived for %d executions that nobody registered (one is %s), so nobody "
                "can watch them. Register each execution when it starts (sse-gateway register), or "
                "set %s=token to let any valid token watch.",
                sum(seen[one] for one in unregistered),
                len(unregistered),
                unregistered[0],
                variable("ownership"),
            )
