"""A Redis whose answers travel as long as a test likes."""

import asyncio

from tests.redis_proxy import RedisProxy


class SlowProxy(RedisProxy):
    """While it is told to `hold`, answers wait on the way."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._go = asyncio.Event()
        self._go.set()
        self.holds = asyncio.Event()
        """Set once an answer, which Redis has given already, waits."""

    def hold(self) -> None:
        self._go.clear()

    def let_go(self) -> None:
        self._go.set()

    async def may_answer(self) -> bool:
        if not self._go.is_set():
            self.holds.set()
            await self._go.wait()
        return True
