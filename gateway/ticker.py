"""One timer for all that a gateway does regularly.

Each wake-up of a process that sleeps costs up to a millisecond of CPU. So components have no timers
of their own: they register plain functions here, and all that is due is called in one wake-up.
"""

import asyncio
import itertools
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from gateway.log import RateLimitedLog
from gateway.metrics import LagHistogram
from gateway.tasks import cancel_all

log = logging.getLogger(__name__)

PERIOD = 0.25
"""Seconds between two ticks; less if a function asks for it."""

AT_ONCE = 50
"""Streams that a function handles before events get their turn: half a millisecond."""

Function = Callable[[], Coroutine[Any, Any, None] | None]
"""Does its work at once, or returns the coroutine that does it."""

T = TypeVar("T")


class Ticker:
    """Calls what is registered; `run` is its one task, and what takes longer has tasks of its own.

    A function that fails stops no other, and is called again when it is due.
    """

    def __init__(self, lags: LagHistogram, failed: Counter[str]) -> None:
        """*lags* observes how many seconds late each tick is, as all is that the event loop does;
        *failed* counts failures by name."""
        self._lags = lags
        self._failed = failed
        self._working: dict[str, asyncio.Task[None]] = {}
        self._logs: defaultdict[str, RateLimitedLog] = defaultdict(lambda: RateLimitedLog(60.0))
        self._period = PERIOD
        self._stopping = False
        self.functions: dict[str, tuple[float, Function]] = {}
        """What is registered, by name, and the seconds between two calls."""
        self.failures: dict[str, str] = {}
        """By the name of each that failed when it was last called, a sentence for health."""

    def every(self, seconds: float, name: str, function: Function) -> None:
        """Call *function* about every so many *seconds*, but not before the coroutine that it
        returned last has ended. *name* is for health, metrics and the log."""
        self._period = min(self._period, seconds)
        self.expect(name)
        self.functions[name] = (seconds, function)

    def expect(self, name: str) -> None:
        """Show that *name* has not failed yet: a rate needs a first value."""
        self._failed[name] += 0

    def start(self, name: str, function: Function) -> None:
        """Call *function* now, unless the coroutine that *name* returned last runs still."""
        working = self._working.get(name)
        if working is not None and not working.done():
            return
        try:
            work = function()
        except Exception as error:
            self.report(name, error)
            return
        if work is None:
            self.report(name, None)
            return
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._working[name] = task
        task.add_done_callback(self._ended)

    def report(self, name: str, error: BaseException | None) -> None:
        """Note that the function *name* has failed with *error*, or did well."""
        if error is None:
            self.failures.pop(name, None)
            return
        self._failed[name] += 1
        self.failures[name] = f"The {name} fails ({type(error).__name__}): see the gateway's log."
        if (held_back := self._logs[name].due()) is not None:
            log.error(
                "The %s has failed, and is tried again (%d more since the last line).",
                name,
                held_back,
                exc_info=error,
            )

    async def run(self) -> None:
        """Tick until cancelled."""
        loop = asyncio.get_running_loop()
        due = loop.time() + self._period
        for ticks in itertools.count(1):
            await asyncio.sleep(max(0.0, due - loop.time()))
            now = loop.time()
            self._lags.observe(max(0.0, now - due))
            # Ticks that a suspended process has missed are not made up for.
            due = max(due + self._period, now)
            for name, (seconds, function) in list(self.functions.items()):
                if ticks % round(seconds / self._period) == 0:
                    self.start(name, function)

    async def stop(self) -> None:
        """Cancel what is under way; call it when `run` has ended."""
        self._stopping = True
        await cancel_all(self._working.values())

    def _ended(self, task: asyncio.Task[None]) -> None:
        name = task.get_name()
        if self._stopping:
            return
        if self._working[name] is task:
            del self._working[name]
        self.report(name, asyncio.CancelledError() if task.cancelled() else task.exception())


async def in_parts(items: Iterable[T], work: Callable[[T], object]) -> None:
    """Do *work* for each of *items*; events get their turn after each `AT_ONCE`.

    Raises what *work* raised last, when it is done for all.
    """
    failed: Exception | None = None
    for number, item in enumerate(items, start=1):
        try:
            work(item)
        except Exception as error:
            failed = error
        if number % AT_ONCE == 0:
            await asyncio.sleep(0)
    if failed is not None:
        raise failed
