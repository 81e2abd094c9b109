"""Turns for the backend: no subject's questions delay those of another."""

import asyncio
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.fair_share import FairShare
from gateway.errors import BackendUnavailable

MOST, SHARE, WAITING = 4, 2, 3


class Stage:
    """Questions that last until they are ended, and who got a turn, in order."""

    def __init__(self) -> None:
        self.turns = FairShare(MOST, SHARE, WAITING)
        self.given: list[str] = []
        self._under_way: list[tuple[str, asyncio.Event]] = []

    async def question(self, payer: str) -> None:
        async with self.turns.turn(payer):
            self.given.append(payer)
            end = asyncio.Event()
            mine = (payer, end)
            self._under_way.append(mine)
            assert len(self._under_way) <= MOST
            assert [who for who, _ in self._under_way].count(payer) <= SHARE
            try:
                await end.wait()
            finally:
                self._under_way.remove(mine)

    def start(self, payer: str) -> "asyncio.Task[None]":
        return asyncio.create_task(self.question(payer))

    def end(self, payer: str) -> None:
        next(end for who, end in self._under_way if who == payer).set()


async def settle() -> None:
    """Until all tasks have gone as far as they can."""
    for _ in range(8):
        await asyncio.sleep(0)


async def test_a_flood_leaves_the_others_their_turns() -> None:
    """One payer has its share under way and no more; another one's question is next at once."""
    stage = Stage()
    flood = [stage.start("flood") for _ in range(5)]
    await settle()
    bystander = stage.start("bystander")
    await settle()
    assert stage.given == ["flood", "flood", "bystander"]
    for task in (*flood, bystander):
        task.cancel()
    await asyncio.gather(*flood, bystander, return_exceptions=True)
    assert len(stage.turns) == 0


async def test_waiting_payers_take_turns() -> None:
    """Where all turns are taken, one with a single question waits for one turn of each other."""
    stage = Stage()
    tasks = [stage.start(who) for who in ("a", "a", "b", "b", "c", "c", "c", "d")]
    await settle()
    assert stage.given == ["a", "a", "b", "b"]
    for ended in ("a", "b", "a", "b"):
        stage.end(ended)
        await settle()
    # The third of `c` waits, since two of it are under way.
    assert stage.given[4:] == ["c", "d", "c"]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_payers_queue_is_bounded() -> None:
    """One payer's queue is bounded; the others' have room."""
    stage = Stage()
    tasks = [stage.start("flood") for _ in range(SHARE + WAITING)]
    await settle()
    with pytest.raises(BackendUnavailable):
        await stage.question("flood")
    tasks.append(stage.start("bystander"))
    await settle()
    assert stage.given[-1] == "bystander"
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert len(stage.turns) == 0


STEPS = st.sampled_from(["ask", "cancel", "end", "pause"])


@given(st.lists(st.tuples(STEPS, st.integers(0, 9))))
def test_no_turn_is_lost(steps: list[tuple[str, int]]) -> None:
    """In any order of arrivals and cancellations, the bounds are kept, no state is left, and all
    turns are free again."""

    async def run() -> None:
        stage = Stage()
        tasks: list[asyncio.Task[None]] = []
        for step, number in steps:
            if step == "ask":
                tasks.append(stage.start("abc"[number % 3]))
            elif step == "cancel" and tasks:
                tasks[number % len(tasks)].cancel()
            elif step == "end":
                with suppress(StopIteration):
                    stage.end("abc"[number % 3])
            else:
                await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert not [one for one in ended if isinstance(one, AssertionError)]
        assert len(stage.turns) == 0
        again = [stage.start(who) for who in "aabb"]
        await settle()
        assert stage.given[-4:] == ["a", "a", "b", "b"]
        for task in again:
            task.cancel()
        await asyncio.gather(*again, return_exceptions=True)

    asyncio.run(run())
