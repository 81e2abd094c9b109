"""The bytes that polls may hold, and who waits for whom."""

import asyncio

import pytest

from gateway.errors import LimitReached, RequestRefused, Unavailable
from gateway.http.poll_budget import Budget, Holder
from tests.support import eventually

ACME, GLOBEX = Holder("acme", False), Holder("globex", False)


async def test_a_quarter_for_each() -> None:
    """One organization gets a quarter and waits for more; the others do not wait for it."""
    budget = Budget(3200, wait=60)
    first = await budget.take(ACME, 700)
    second = asyncio.create_task(budget.take(ACME, 1))
    await asyncio.sleep(0)
    other = await asyncio.wait_for(budget.take(GLOBEX, 700), 1)
    assert (budget.used, second.done()) == (1400, False)
    first.release()
    (await second).release()
    other.release()
    assert budget.used == 0


async def test_refused_when_it_stays_full() -> None:
    """Whose own polls are in the way gets 429, and whose are not 503; nothing of it stays."""
    budget = Budget(3200, wait=0.05)
    held = [await budget.take(Holder(str(number), False), 700) for number in range(4)]
    cases: list[tuple[Holder, type[RequestRefused], str]] = [
        (Holder("0", False), LimitReached, "poll_limit"),
        (ACME, Unavailable, "polls_busy"),
    ]
    for holder, kind, code in cases:
        with pytest.raises(kind) as refusal:
            await budget.take(holder, 100)
        assert refusal.value.code == code
        assert refusal.value.temporary
    for one in held:
        one.release()
    (await budget.take(ACME, 700)).release()
    assert budget.used == 0


async def test_readers_find_room_where_documents_wait() -> None:
    """Buffers of readers do not wait behind documents, which they would keep from being written."""
    budget = Budget(3200, wait=60)
    await budget.take(ACME, 700)
    waiting = asyncio.create_task(budget.take(ACME, 700))
    await asyncio.sleep(0)
    await asyncio.wait_for(budget.take(Holder("acme", True), 100), 1)
    waiting.cancel()


async def test_in_turn() -> None:
    """What becomes free goes to the organizations in turn, not to who asked most often."""
    budget = Budget(800, wait=60)
    fill = [await budget.take(Holder(str(number), False), 175) for number in range(4)]
    order: list[str] = []

    async def take(holder: Holder) -> None:
        charge = await budget.take(holder, 175)
        order.append(holder.organization)
        charge.release()

    tasks = [asyncio.create_task(take(one)) for one in [ACME] * 3 + [GLOBEX] * 2]
    await asyncio.sleep(0)
    fill[0].release()
    await asyncio.gather(*tasks)
    assert order == ["acme", "globex", "acme", "globex", "acme"]


async def test_given_up_while_waiting() -> None:
    """Who leaves while it waits, or in the moment in which it gets room, holds nothing."""
    budget = Budget(3200, wait=60)
    held = await budget.take(ACME, 700)
    early, granted = [asyncio.create_task(budget.take(ACME, 600)) for _ in range(2)]
    await asyncio.sleep(0)
    early.cancel()
    await eventually(early.done)
    held.release()
    granted.cancel()
    await eventually(granted.done)
    assert budget.used == 0


async def test_what_rests_makes_room() -> None:
    """What is remembered is bounded, and goes when its room is needed: the oldest first."""
    budget = Budget(3200, wait=60)
    gone: list[int] = []
    for number in range(5):
        charge = await budget.take(ACME, 100)
        charge.rest(lambda number=number: gone.append(number))  # type: ignore[misc]
    assert gone == [0]
    charge.wake()
    await asyncio.wait_for(budget.take(ACME, 500), 1)
    assert gone == [0, 1, 2]
    charge.release()
    assert budget.used == 600
