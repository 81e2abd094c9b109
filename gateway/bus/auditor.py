"""Compares logs with their histories, so that what was missed without a sign is found.

Two occasions: a stream that has been silent for a heartbeat interval, since its silence may be a
missed event; and a new subscription, since whatever was published while there was none is missed
by everybody. It only compares: a log that is behind its history repairs itself.
"""

import asyncio
from functools import partial

from gateway.bus.history import History
from gateway.bus.questions import Question
from gateway.fanout.hub import Hub

SWEEPS = (0.0, 1.0, 5.0)
"""Seconds after a new subscription from which all histories are compared: a worker's last writes,
or another instance's recording, may come late."""


class Auditor:
    """Audits the streams of one hub, by regular `questions`."""

    def __init__(self, history: History, hub: Hub) -> None:
        self._history = history
        self._hub = hub
        self._silent: set[str] = set()
        self._sweeps: list[float] = []

    def silent(self, execution_id: str) -> None:
        """A stream of this execution has been silent for a heartbeat interval."""
        self._silent.add(execution_id)

    def subscribed(self) -> None:
        """A new subscription was confirmed: between it and the last one anything may have come."""
        now = asyncio.get_running_loop().time()
        self._sweeps = [now + delay for delay in SWEEPS]

    def questions(self) -> list[Question]:
        """What is to be audited now. What Redis does not answer is asked at the next subscription,
        or the next silence; health tells of it."""
        asked, self._silent = self._silent, set()
        if self._sweeps and self._sweeps[0] <= asyncio.get_running_loop().time():
            del self._sweeps[0]
            asked = set(self._hub.executions)
        session = self._hub.session
        return [
            self._history.last_id(one, partial(self._hub.audit, one, session=session))
            for one in asked
        ]
