"""Executions of a set of which it was not known, when the set was opened, whether they may be seen.

For instance, they are at a lost node of a cluster. The others are shown, and the admission of these
is retried. Until one is admitted its part is not attached, so it can show nothing.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from gateway.errors import ExecutionNotFound, RequestRefused
from gateway.events.sse_encoder import CloseReason
from gateway.fanout.set_part import Part
from gateway.fanout.state import pause

if TYPE_CHECKING:
    from gateway.fanout.set_stream import SetStream

log = logging.getLogger(__name__)


class LateAdmission:
    """Those of one set."""

    def __init__(self, whole: "SetStream", parts: Iterable[Part]) -> None:
        self._whole = whole
        self._tasks: list[asyncio.Task[None]] = []
        self.parts = set(parts)
        """They are not admitted yet."""

    def begin(self) -> None:
        """The set is open."""
        self._tasks = [self._whole.hub.spawn(self._settle(part)) for part in self.parts]

    def stop(self) -> None:
        """The set is over."""
        for task in self._tasks:
            task.cancel()
        self._tasks = []

    async def _settle(self, part: Part) -> None:
        try:
            while not await self._admits(part):
                await pause()
            self.parts.discard(part)
            self._whole.begin(part)
        except ExecutionNotFound:
            self._whole.leave_out(part)
        except RequestRefused:
            # Who asks may see nothing any more.
            self._whole.close(CloseReason.REVOKED)
        except Exception:
            log.exception("A set with %s failed and is cut off.", part.execution_id)
            self._whole.abort()

    async def _admits(self, part: Part) -> bool:
        try:
            await self._whole.hub.admit(part.principal, again=False)
        except RequestRefused as refusal:
            if not refusal.temporary:
                raise
            return False
        return True
