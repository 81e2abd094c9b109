"""Background tasks that somebody watches.

A bare `create_task` can be garbage-collected in mid-run, and its exception is seen by nobody: the
feed of a prototype went silent that way. Every endless task of the gateway is started here, and
one that ends is an error, shown in the log and in health. It does not restart anything: a task
that died of a bug would die of it again, and health keeps saying so until somebody looks.
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

log = logging.getLogger(__name__)

_CANCEL_AGAIN = 0.1
"""Seconds after which a task that was cancelled and has not ended is cancelled again."""


class Supervisor:
    """Owns the endless background tasks of one gateway."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping = False
        self.failures: dict[str, str] = {}
        """Name of each task that ended on its own, with the sentence that says how."""

    def start(self, name: str, endless: Coroutine[Any, Any, None]) -> None:
        """Run *endless* until `stop`; if it ends before that, `failures` says so."""
        task = asyncio.get_running_loop().create_task(endless, name=name)
        self._tasks[name] = task
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self._stopping:
            return
        name = task.get_name()
        error = None if task.cancelled() else task.exception()
        how = f"{type(error).__name__}: {error}" if error else "it ended without an error"
        self.failures[name] = f"The background task {name} has died ({how}); restart the gateway."
        log.critical(self.failures[name], exc_info=error)

    def cancel(self, name: str) -> None:
        """Cancel one task, as a fault would; it counts as dead."""
        self._tasks[name].cancel()

    async def stop(self) -> None:
        """Cancel all tasks and wait until they have cleaned up after themselves."""
        self._stopping = True
        pending = set(self._tasks.values())
        while pending:
            for task in pending:
                task.cancel()
            # Once is not enough: a connect under way in a library may swallow a cancellation.
            _, pending = await asyncio.wait(pending, timeout=_CANCEL_AGAIN)
        self._tasks.clear()
