"""Compares logs with their histories, so that what was missed without a sign is found.

Two occasions: a stream that has been silent for a heartbeat interval, since its silence may be a
missed event; and a new subscription, since whatever was published while there was none is missed
by everybody. It only compares: a log that is behind its history repairs itself.
"""

import asyncio

from gateway.bus.history import History
from gateway.errors import RedisUnavailable
from gateway.fanout.hub import Hub

SWEEPS = (0.0, 1.0, 5.0)
"""Seconds after a new subscription at which all histories are compared: a worker's last writes, or
another instance's recording, may come late."""

_TICK = 0.25
_AT_ONCE = 100
"""Histories compared in one round trip. Events wait while its answers are read, so not too many."""


class Auditor:
    """Audits the streams of one hub; `run` is its one task."""

    def __init__(self, history: History, hub: Hub) -> None:
        self._history = history
        self._hub = hub
        self._silent: set[str] = set()
        self._sweeps: list[float] = []
        self._wake = asyncio.Event()

    def silent(self, execution_id: str) -> None:
        """A stream of this execution has been silent for a heartbeat interval."""
        self._silent.add(execution_id)

    def subscribed(self) -> None:
        """A new subscription was confirmed: between it and the last one anything may have come."""
        now = asyncio.get_running_loop().time()
        self._sweeps = [now + delay for delay in SWEEPS]
        self._wake.set()

    async def run(self) -> None:
        """Audit what is due."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with asyncio.timeout(_TICK):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            if self._sweeps and self._sweeps[0] <= loop.time():
                del self._sweeps[0]
                self._silent.clear()
                await self._audit(self._hub.executions)
            elif self._silent:
                silent, self._silent = self._silent, set()
                await self._audit(list(silent))

    async def _audit(self, execution_ids: list[str]) -> None:
        for begin in range(0, len(execution_ids), _AT_ONCE):
            session = self._hub.session
            try:
                positions = await self._history.positions(execution_ids[begin : begin + _AT_ONCE])
            except RedisUnavailable:
                # Health tells of it. The next subscription brings new sweeps, or the next silence.
                return
            for execution_id, last in positions.items():
                self._hub.audit(execution_id, last, session)
