"""A client that reconnects as an EventSource does, for tests with several gateway processes.

It checks nothing: the test looks at what it has received. `tests.delivery` has readers that are
slow, leave, and are checked.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp

from tests.conftest import credentials
from tests.harness.sse import Seen, SseReader

_RETRY = 0.05
"""Seconds: what gateways ask for would make a test wait."""


class Tab:
    """Follows one execution until its end, over as many connections as that takes."""

    def __init__(self, session: aiohttp.ClientSession, origin: str, execution_id: str) -> None:
        self._session = session
        self._url = f"{origin}/api/v1/sse/executions/{execution_id}/stream"
        self.execution_id = execution_id
        self.ids: list[str] = []
        self.notices: list[Seen] = []
        """What is no event of the execution, but for `connected` and heartbeats."""
        self.statuses: list[int] = []
        """Of each answer."""
        self.opened = 0
        """How often it was connected."""

    @property
    def numbers(self) -> list[int]:
        """Which events of the execution it has seen, counted from 1."""
        return [int(one.partition("-")[2]) for one in self.ids]

    async def run(self) -> None:
        """Follow to the end."""
        while not self.statuses or self.statuses[-1] == 200:
            # The gateway is not there yet, or has gone while it was read from.
            with suppress(aiohttp.ClientError):
                await self._connect()
            await asyncio.sleep(_RETRY)

    async def _connect(self) -> None:
        headers = {**credentials(), "Accept": "text/event-stream"}
        if self.ids:
            headers["Last-Event-ID"] = self.ids[-1]
        async with self._session.get(self._url, headers=headers) as response:
            self.statuses.append(response.status)
            reader = SseReader(response)
            while (seen := await reader.next()) is not None:
                self._take(seen)

    def _take(self, seen: Seen) -> None:
        if seen.event == "connected":
            self.opened += 1
        elif seen.id is not None and not seen.event.startswith("stream:"):
            self.ids.append(seen.id)
        elif seen.event != "heartbeat":
            self.notices.append(seen)


@asynccontextmanager
async def following(tabs: list[Tab]) -> AsyncIterator[None]:
    """Let *tabs* run for as long as the block does."""
    tasks = [asyncio.create_task(tab.run()) for tab in tabs]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
