"""Many questions in one round trip: those that come while one is under way go with the next.

After a restart thousands of tabs ask about thousands of executions at once, and most of what a
question costs is the trip. A question that comes alone is asked at once; trips one after the other
keep a distance, so that they fill. An answer is never older than its question, and nothing is
remembered.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Mapping, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar

DISTANCE = 0.01
"""Seconds from the end of one trip to the beginning of the next."""

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class DataLoader(Generic[K, T]):
    """Questions to one who answers many at a time; one round trip is under way at a time."""

    def __init__(
        self, answer: Callable[[Sequence[K]], Awaitable[Mapping[K, T | Exception]]], at_once: int
    ) -> None:
        """*answer* is given at most *at_once* different keys. What it raises is raised to all who
        asked for one of these; an exception that it returns, to those who asked for that one."""
        self._answer = answer
        self._at_once = at_once
        self._asked: dict[K, asyncio.Future[T]] = {}
        self._task: asyncio.Task[None] | None = None

    async def ask(self, key: K) -> T:
        """The answer for *key*, from a round trip that has not begun yet."""
        asked = self._asked.get(key)
        if asked is None:
            asked = self._asked[key] = asyncio.get_running_loop().create_future()
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        # Shielded: the one that asked first may be given up before the others.
        return await asyncio.shield(asked)

    async def stop(self) -> None:
        """Give up what is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            while self._asked:
                await self._round({key: self._asked.pop(key) for key in self._next()})
                await asyncio.sleep(DISTANCE)
        finally:
            self._task = None
            for asked in self._asked.values():
                asked.cancel()
            self._asked.clear()

    def _next(self) -> list[K]:
        return list(islice(self._asked, self._at_once))

    async def _round(self, asked: Mapping[K, asyncio.Future[T]]) -> None:
        try:
            answers = await self._answer(list(asked))
            for key, one in asked.items():
                _settle(one, answers[key])
        except Exception as error:
            for one in asked.values():
                _settle(one, error)
        finally:
            for one in asked.values():
                one.cancel()


def _settle(asked: asyncio.Future[T], answer: T | Exception) -> None:
    if asked.done():
        return
    if isinstance(answer, Exception):
        asked.set_exception(answer)
        # When all who asked have left, nobody else looks at it.
        asked.exception()
    else:
        asked.set_result(answer)


class SingleFlight(Generic[K, T]):
    """The questions under way, by what is asked."""

    def __init__(self) -> None:
        self._asking: dict[K, asyncio.Task[T]] = {}

    async def ask(self, key: K, question: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The answer to *question*, or to the one for the same *key* that is under way; raises
        what it raises."""
        asking = self._asking.get(key)
        if asking is None:
            asking = asyncio.create_task(question())
            self._asking[key] = asking
            asking.add_done_callback(lambda done: self._answered(key, done))
        # Shielded: the one that asked first may be given up before the others.
        return await asyncio.shield(asking)

    def _answered(self, key: K, done: asyncio.Task[T]) -> None:
        del self._asking[key]
        # When all who asked have left, nobody else looks at its error.
        if not done.cancelled():
            done.exception()

    async def stop(self) -> None:
        """Give up what is under way."""
        asking = list(self._asking.values())
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
