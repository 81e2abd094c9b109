"""One timer for all that is done regularly: nothing that fails or takes long harms the rest."""

import asyncio
import time
from collections import Counter

import pytest

from gateway.metrics import Metrics
from gateway.ticker import AT_ONCE, Ticker, in_parts
from tests.harness.ticking import NAME, ticking
from tests.support import eventually

FAST = 0.01


async def test_each_function_has_its_period() -> None:
    """All are called in the same ticks: one with three times the period at every third."""
    calls: Counter[str] = Counter()
    async with ticking() as ticker:
        ticker.every(3 * FAST, "slow", lambda: calls.update(["slow"]))
        ticker.every(FAST, "fast", lambda: calls.update(["fast"]))
        await eventually(lambda: calls["fast"] >= 30)
        assert abs(calls["slow"] - calls["fast"] / 3) <= 1


@pytest.mark.parametrize("later", [False, True], ids=["at once", "in its coroutine"])
async def test_a_function_that_fails_harms_no_other(
    later: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """It is counted, named for health, logged once a minute, called again, and well once it
    succeeds."""
    failed: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    is_broken = True

    def fails() -> None:
        if is_broken:
            raise ValueError("a secret")

    async def fails_later() -> None:
        await asyncio.sleep(0)
        fails()

    async with ticking(FAST, fails_later if later else fails, failed) as ticker:
        ticker.every(FAST, "other", lambda: calls.update(["other"]))
        await eventually(lambda: failed[NAME] >= 3 and calls["other"] >= 3)
        assert ticker.failures == {NAME: f"The {NAME} fails (ValueError): see the gateway's log."}
        [record] = caplog.records
        assert record.exc_info is not None
        assert f"The {NAME} has failed" in record.message
        is_broken = False
        await eventually(lambda: not ticker.failures)
    assert {name for name, times in failed.items() if times} == {NAME}
    assert failed["other"] == 0


async def test_a_coroutine_that_takes_long_delays_no_other() -> None:
    """It is not begun again before it has ended, and is cancelled when the ticker stops."""
    calls: Counter[str] = Counter()
    ended = asyncio.Event()

    async def long() -> None:
        calls["long"] += 1
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with ticking() as ticker:
        ticker.every(FAST, "long", long)
        ticker.every(FAST, "other", lambda: calls.update(["other"]))
        await eventually(lambda: calls["other"] >= 5)
    assert calls["long"] == 1
    assert ended.is_set()


async def test_a_late_tick_is_observed() -> None:
    """What holds up the event loop shows in the lateness of the next tick, which is not made up
    for by several at once."""
    metrics = Metrics()
    ticker = Ticker(metrics.loop_lag, Counter())
    calls: list[float] = []
    held_up = 0.2

    def called() -> None:
        calls.append(time.monotonic())
        if len(calls) == 1:
            time.sleep(held_up)

    ticker.every(FAST, "function", called)
    task = asyncio.create_task(ticker.run())
    await eventually(lambda: len(calls) >= 4)
    task.cancel()
    assert 0.15 < metrics.loop_lag.sum < 5
    # The second call is when the loop goes on, or later; the third one may follow at once.
    assert calls[3] - calls[0] > held_up + FAST


async def test_events_get_their_turn_between_parts() -> None:
    """A thousand heartbeats due at once hold no event up for longer than fifty of them."""
    assert AT_ONCE <= 50
    done: list[int] = []
    seen: list[int] = []
    working = asyncio.create_task(in_parts(range(4 * AT_ONCE), done.append))
    while not working.done():
        await asyncio.sleep(0)
        seen.append(len(done))
    assert seen[:4] == [AT_ONCE, 2 * AT_ONCE, 3 * AT_ONCE, 4 * AT_ONCE]


async def test_an_item_that_fails_harms_no_other() -> None:
    """The rest is done all the same, and the failure is raised after it."""
    done: list[int] = []

    def work(item: int) -> None:
        done.append(1 // item)

    with pytest.raises(ZeroDivisionError):
        await in_parts([1, 0, 1], work)
    assert done == [1, 1]
