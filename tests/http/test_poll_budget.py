"""The bytes that polls may hold, and who waits for whom."""

import asyncio

import pytest
from redis.asyncio import Redis

from gateway.bus.history import History
from gateway.errors import LimitReached, RequestRefused, Unavailable
from gateway.http.poll_budget import Budget, Charge, Payer
from gateway.http.run_cache import Documents, Key
from gateway.http.run_document import Document, Query
from gateway.metrics import Metrics
from tests.support import DEADLINE

KIB = 1024

ACME, GLOBEX = Payer("acme", is_reader=False), Payer("globex", is_reader=False)


async def take(budget: Budget, payer: Payer, size: int) -> Charge:
    """A new charge of *size* bytes."""
    charge = Charge(payer)
    await budget.take(charge, size)
    return charge


async def test_a_quarter_for_each() -> None:
    """One organization gets a quarter and waits for more; the others do not wait for it."""
    budget = Budget(3200, wait=60)
    first = await take(budget, ACME, 700)
    second = asyncio.create_task(take(budget, ACME, 1))
    await asyncio.sleep(0)
    other = await asyncio.wait_for(take(budget, GLOBEX, 700), DEADLINE)
    assert (budget.used, second.done()) == (1400, False)
    budget.release(first)
    budget.release(await second)
    budget.release(other)
    assert budget.used == 0


async def test_refused_when_it_stays_full() -> None:
    """429 for an organization whose own polls are in the way, 503 for the others; both hold
    nothing afterwards."""
    budget = Budget(3200, wait=0.05)
    full = [await take(budget, Payer(str(number), is_reader=False), 700) for number in range(4)]
    cases: list[tuple[Payer, type[RequestRefused], str]] = [
        (full[0].payer, LimitReached, "poll_limit"),
        (ACME, Unavailable, "polls_busy"),
    ]
    for payer, kind, code in cases:
        with pytest.raises(kind) as refusal:
            await take(budget, payer, 100)
        assert refusal.value.code == code
        assert refusal.value.temporary
    for one in full:
        budget.release(one)
    budget.release(await take(budget, ACME, 700))
    assert budget.used == 0


async def test_readers_find_room_where_documents_wait() -> None:
    """Buffers of readers do not wait behind documents, which they would keep from being written."""
    budget = Budget(3200, wait=60)
    await take(budget, ACME, 700)
    waiting = asyncio.create_task(take(budget, ACME, 700))
    await asyncio.sleep(0)
    await asyncio.wait_for(take(budget, Payer("acme", is_reader=True), 100), DEADLINE)
    waiting.cancel()


async def test_in_turn() -> None:
    """What becomes free goes to the organizations in turn, however many polls of one wait."""
    budget = Budget(800, wait=60)
    full = [await take(budget, Payer(str(number), is_reader=False), 175) for number in range(4)]
    order: list[str] = []

    async def poll(payer: Payer) -> None:
        charge = await take(budget, payer, 175)
        order.append(payer.organization_id)
        budget.release(charge)

    tasks = [asyncio.create_task(poll(one)) for one in [ACME] * 3 + [GLOBEX] * 2]
    await asyncio.sleep(0)
    budget.release(full[0])
    await asyncio.gather(*tasks)
    assert order == ["acme", "globex", "acme", "globex", "acme"]


@pytest.mark.parametrize("turns", [0, 1], ids=["while waiting", "when granted"])
async def test_given_up(turns: int) -> None:
    """A poll that leaves while it waits, or at the moment at which it is granted its bytes, holds
    nothing and does not delay the next one."""
    budget = Budget(3200, wait=60)
    full = await take(budget, ACME, 700)
    leaving, next_one = [asyncio.create_task(take(budget, ACME, 600)) for _ in range(2)]
    await asyncio.sleep(0)
    budget.release(full)
    for _ in range(turns):
        await asyncio.sleep(0)
    assert budget.used == 600 * turns
    leaving.cancel()
    budget.release(await asyncio.wait_for(next_one, DEADLINE))
    assert leaving.cancelled()
    assert budget.used == 0


async def test_what_is_remembered_makes_room(redis: Redis) -> None:
    """Documents that nobody reads are bounded, and go when their bytes are needed: first the one
    that was not read for longest, and those of the same organization."""
    history, budget = History(redis), Budget(1024 * KIB)
    documents = Documents(
        history, budget, Metrics(), seconds=60, most_bytes=1024 * KIB, most_events=1000
    )

    async def document(number: int, organization: str = "acme") -> Document:
        key = Key(organization, f"run-{number}", Query(with_logs=False))
        async with documents.read(key) as found:
            return found

    others = await document(0, "globex")
    own = [await document(number) for number in range(7)]
    assert budget.used == budget.most_remembered == 8 * 16 * KIB
    assert await document(0) is own[0]
    await document(7)
    assert budget.used == budget.most_remembered
    # Of all it was not read for longest.
    newer = await document(0, "globex")
    assert newer is not others
    await take(budget, ACME, 180 * KIB)
    assert await document(0) is own[0]
    assert await document(0, "globex") is newer
    assert await document(6) is not own[6]
