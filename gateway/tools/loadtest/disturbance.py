"""What goes wrong on purpose: readers that are slow, pages that are loaded anew, all dropped at
once. Readers that never read need nobody: see `Tab`.
"""

import asyncio
import random
import time
from collections.abc import Sequence

from gateway.tools.loadtest.plan import Plan
from gateway.tools.loadtest.tab import Tab

_TURN = 0.5
"""Seconds between two moments at which a slow tab reads what fits into one read."""

_LOOK = 0.02


class Disturbance:
    """Disturbs the tabs of one run while events are published; `run` is its task."""

    def __init__(self, plan: Plan, tabs: Sequence[Tab]) -> None:
        self._plan = plan
        self._tabs = tabs
        self.storm_seconds: float | None = None
        """How long it took until all that were dropped were back."""

    async def run(self) -> None:
        """Until the last disturbance is over."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._let_slow_ones_read())
            group.create_task(self._reload())
            if self._plan.storm:
                group.create_task(self._storm())

    async def _let_slow_ones_read(self) -> None:
        slow = [tab for tab in self._tabs if tab.habit == "slow"]
        while slow := [tab for tab in slow if not tab.ended.done()]:
            for tab in slow:
                tab.read_on()
            await asyncio.sleep(_TURN)

    async def _reload(self) -> None:
        """Each of a share of the tabs once, at a random moment of the publishing."""
        reading = [tab for tab in self._tabs if tab.habit == "reads"]
        # Spreads load, guards nothing; the same in each run of one size.
        chance = random.Random(len(reading))  # noqa: S311
        chosen = chance.sample(reading, round(len(reading) * self._plan.reload))
        moments = sorted(chance.uniform(0, self._plan.duration) for _ in chosen)
        begin = time.monotonic()
        for tab, moment in zip(chosen, moments, strict=True):
            await asyncio.sleep(max(0.0, begin + moment - time.monotonic()))
            tab.reload()

    async def _storm(self) -> None:
        await asyncio.sleep(self._plan.duration / 2)
        dropped = [tab for tab in self._tabs if tab.is_open and tab.habit != "frozen"]
        begin = time.monotonic()
        for tab in dropped:
            tab.drop()
        # Gone first: an abort is known to a tab a turn of the loop later.
        await asyncio.sleep(_LOOK)
        try:
            # An event of its own would cost every tab more than this look.
            while not all(map(_is_back, dropped)):  # noqa: ASYNC110
                await asyncio.sleep(_LOOK)
        finally:
            # The run may be over as soon as the last one is back.
            if all(map(_is_back, dropped)):
                self.storm_seconds = round(time.monotonic() - begin, 3)


def _is_back(tab: Tab) -> bool:
    return tab.is_open or tab.ended.done()
