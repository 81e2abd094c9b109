"""Background tasks that are watched.

A bare `create_task` can be garbage-collected while it runs, and nobody sees its exception. Every
endless task is started here; one that ends is logged and makes the gateway unhealthy. It is not
restarted: a bug would end it again.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

Tasks = dict[str, Callable[[], Coroutine[Any, Any, None]]]
"""What runs each endless task, by its name."""

log = logging.getLogger(__name__)

_CANCEL_AGAIN = 0.1
"""Seconds after which a cancelled task that has not ended is cancelled again."""


class Supervisor:
    """Owns the endless background tasks of one gateway."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping = False
        self.failures: dict[str, str] = {}
        """By the name of each task that ended on its own, a sentence that says how."""

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

    async def stop(self) -> None:
        """Cancel all tasks and wait until they have ended."""
        self._stopping = True
        await cancel_all(self._tasks.values())
        self._tasks.clear()


async def cancel_all(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel *tasks* and wait until they have ended."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        # Again and again: a library that is connecting may swallow a cancellation.
        _, pending = await asyncio.wait(pending, timeout=_CANCEL_AGAIN)
