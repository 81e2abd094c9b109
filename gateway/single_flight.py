"""One question at a time: all who ask the same while it is under way share the answer.

After a restart thousands of tabs ask the same at once. It remembers nothing: who asks after the
answer has come asks anew.
"""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


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
