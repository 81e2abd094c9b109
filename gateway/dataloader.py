"""Fewer requests for many questions: `DataLoader` batches them, `SingleFlight` shares equal ones.

After a restart thousands of tabs ask about thousands of executions at once, and most of what a
question costs is its round trip. Neither caches: an answer is never older than its question.
"""

import asyncio
from collections.abc import (
    Awaitable,
    Callable,
    Coroutine,
    Hashable,
    Iterable,
    Mapping,
    Sequence,
)
from itertools import islice
from typing import Any, Generic, TypeVar

PAUSE = 0.01
"""Seconds from the end of a batch to the start of the next, in which questions gather, where one
came during the batch."""

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class DataLoader(Generic[K, T]):
    """Batches questions, one batch at a time. A lone question is asked at once; those that come
    during a batch go with the next."""

    def __init__(
        self,
        load: Callable[[Sequence[K]], Awaitable[Mapping[K, T | Exception]]],
        max_batch: int,
        steps: int = 0,
    ) -> None:
        """*load* is given at most *max_batch* different keys. What it raises is raised to all who
        asked for one of these; an exception that it returns, to those who asked for that one.
        *steps*: of the event loop that a first question waits for others."""
        self._load = load
        self._steps = steps
        self._max_batch = max_batch
        self._asked: dict[K, list[asyncio.Future[T]]] = {}
        self._task: asyncio.Task[None] | None = None

    def ask(self, key: K) -> "asyncio.Future[T]":
        """The answer for *key*, from a batch that has not started yet."""
        # Each has one of its own, so that who is cancelled takes it from nobody. `shield` does the
        # same for three times the price.
        mine: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._asked.setdefault(key, []).append(mine)
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return mine

    async def stop(self) -> None:
        """Cancel what is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            for _ in range(self._steps):
                await asyncio.sleep(0)
            while self._asked:
                keys = list(islice(self._asked, self._max_batch))
                await self._run_batch({key: self._asked.pop(key) for key in keys})
                # Where the next batch is full already, nothing more needs to gather.
                if 0 < len(self._asked) < self._max_batch:
                    await asyncio.sleep(PAUSE)
        finally:
            self._task = None
            _cancel(self._asked)
            self._asked.clear()

    async def _run_batch(self, batch: Mapping[K, list[asyncio.Future[T]]]) -> None:
        try:
            answers = await self._load(list(batch))
            for key, asked in batch.items():
                _resolve(asked, answers[key])
        except Exception as error:
            for asked in batch.values():
                _resolve(asked, error)
        finally:
            _cancel(batch)


def _resolve(asked: Iterable[asyncio.Future[T]], answer: T | Exception) -> None:
    for one in asked:
        if one.done():
            continue
        if isinstance(answer, Exception):
            one.set_exception(answer)
            # Mark it as seen, for the case that nobody waits any more.
            one.exception()
        else:
            one.set_result(answer)


def _cancel(batch: Mapping[K, list[asyncio.Future[T]]]) -> None:
    for asked in batch.values():
        for one in asked:
            one.cancel()


class SingleFlight(Generic[K, T]):
    """Equal questions share one request."""

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
        # Shielded: others may wait for the same answer.
        return await asyncio.shield(asking)

    def _answered(self, key: K, done: asyncio.Task[T]) -> None:
        del self._asking[key]
        # Mark an error as seen, for the case that nobody waits any more.
        if not done.cancelled():
            done.exception()

    async def stop(self) -> None:
        """Cancel what is under way."""
        asking = list(self._asking.values())
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
