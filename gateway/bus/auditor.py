"""Compares logs with their histories, to find events that were missed unnoticed.

Two occasions: a stream that has been silent for a heartbeat interval, since its silence may be a
missed event; and a new subscription, since everything that was published while there was none is
missing. It only compares: a log that is behind its history repairs itself.
"""

import asyncio
from collections.abc import Callable
from functools import partial

from gateway.bus.history import History
from gateway.bus.questions import Question
from gateway.events.ids import EventId
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
        self._begun: set[str] = set()
        self._sweeps: list[tuple[float, set[str] | None]] = []
        """When to compare which; None: all."""
        self.on_unheard: Callable[[str], None] = lambda _: None
        """Called with an execution that has an event which did not come, though all was well."""

    def silent(self, execution_id: str) -> None:
        """A stream of this execution has been silent for a heartbeat interval."""
        self._silent.add(execution_id)

    def subscribed(self, execution_id: str | None = None) -> None:
        """A new subscription was confirmed, to this execution or to all: between it and the last
        one anything may have come."""
        if execution_id is not None:
            self._begun.add(execution_id)
            return
        now = asyncio.get_running_loop().time()
        self._sweeps = [(now + delay, None) for delay in SWEEPS]

    def questions(self) -> list[Question]:
        """What is to be audited now. What Redis does not answer is asked at the next subscription,
        or the next silence; health tells of it."""
        asked, self._silent = self._silent, set()
        now = asyncio.get_running_loop().time()
        if self._begun:
            self._sweeps += [(now + delay, self._begun) for delay in SWEEPS]
            self._sweeps.sort(key=lambda sweep: sweep[0])
            self._begun = set()
        while self._sweeps and self._sweeps[0][0] <= now:
            _, some = self._sweeps.pop(0)
            asked |= set(self._hub.executions) if some is None else some
        session = self._hub.session
        return [
            self._history.last_id(one, partial(self._audit, one, session=session)) for one in asked
        ]

    def _audit(self, execution_id: str, last: EventId | None, *, session: int) -> None:
        if self._hub.audit(execution_id, last, session):
            self.on_unheard(execution_id)
