"""Many questions in one round trip: none is answered by an older answer, none harms another."""

import asyncio
from collections.abc import Sequence

import pytest

from gateway.dataloader import PAUSE, DataLoader
from tests.support import eventually


class Oracle:
    """Answers with the number of the trip; waits for `go` where it is cleared."""

    def __init__(self, at_once: int = 100) -> None:
        self.asked: list[list[str]] = []
        self.began: list[float] = []
        self.go = asyncio.Event()
        self.go.set()
        self.trips: DataLoader[str, int] = DataLoader(self._answer, at_once)

    async def _answer(self, keys: Sequence[str]) -> dict[str, int | Exception]:
        self.asked.append(list(keys))
        self.began.append(asyncio.get_running_loop().time())
        number = len(self.asked)
        await self.go.wait()
        if "all" in keys:
            raise OSError("all")
        return {key: ValueError(key) if key == "bad" else number for key in keys}


async def test_simultaneous_questions_share_a_batch() -> None:
    """All who ask at the same time share a trip, and a key that is asked twice is asked once."""
    oracle = Oracle()
    assert await asyncio.gather(*map(oracle.trips.ask, ["a", "b", "a"])) == [1, 1, 1]
    assert oracle.asked == [["a", "b"]]


async def test_an_answer_is_never_older_than_its_question() -> None:
    """Who asks while a trip is under way waits for the next one, even for the same key."""
    oracle = Oracle()
    oracle.go.clear()
    first = asyncio.ensure_future(oracle.trips.ask("a"))
    await eventually(lambda: oracle.asked)
    second = asyncio.ensure_future(oracle.trips.ask("a"))
    await asyncio.sleep(0)
    oracle.go.set()
    assert await asyncio.gather(first, second) == [1, 2]


async def test_a_batch_is_bounded() -> None:
    """A trip takes so many keys and no more; the others go with the next ones."""
    oracle = Oracle(at_once=2)
    assert await asyncio.gather(*map(oracle.trips.ask, "abcde")) == [1, 1, 2, 2, 3]


async def test_batches_keep_a_pause() -> None:
    """Trips one after the other keep a distance, so that they fill; a first one goes at once, and
    one that is full already."""
    oracle = Oracle(at_once=2)
    answers = asyncio.gather(*map(oracle.trips.ask, "abcde"))
    # By steps of the event loop: on a busy machine one of these may take longer than the pause.
    for _ in range(10):
        await asyncio.sleep(0)
    assert oracle.asked[:2] == [["a", "b"], ["c", "d"]]
    await answers
    _, second, third = oracle.began
    assert third - second >= PAUSE * 0.9


async def test_errors_of_one_key_and_of_a_batch() -> None:
    """What is refused for one key is raised to who asked for that one; a trip that fails, to all
    who went with it, and to none after it."""
    oracle = Oracle()
    good, bad = await asyncio.gather(
        oracle.trips.ask("good"), oracle.trips.ask("bad"), return_exceptions=True
    )
    assert good == 1
    assert isinstance(bad, ValueError)
    errors = await asyncio.gather(
        oracle.trips.ask("a"), oracle.trips.ask("all"), return_exceptions=True
    )
    assert [type(one) for one in errors] == [OSError, OSError]
    assert await oracle.trips.ask("a") == 3


async def test_a_cancelled_question_harms_no_other() -> None:
    """A request that is cancelled while it waits leaves the others their answer."""
    oracle = Oracle()
    oracle.go.clear()
    leaving, staying = (asyncio.ensure_future(oracle.trips.ask("a")) for _ in range(2))
    await eventually(lambda: oracle.asked)
    leaving.cancel()
    oracle.go.set()
    assert await staying == 1
    with pytest.raises(asyncio.CancelledError):
        await leaving


async def test_stop_cancels_all_questions() -> None:
    """What is under way is cancelled, and those who wait get that."""
    oracle = Oracle(at_once=1)
    oracle.go.clear()
    waiting = [asyncio.ensure_future(oracle.trips.ask(key)) for key in "ab"]
    await eventually(lambda: oracle.asked)
    await oracle.trips.stop()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(one) for one in results] == [asyncio.CancelledError] * 2
