"""Pauses between attempts."""

import asyncio

from gateway.retry import Backoff, poll_until


def test_pauses_grow_to_their_limit_and_are_random() -> None:
    """No pause is longer than the limit, and two processes that lost Redis at the same moment do
    not return at the same moment."""
    some, other = (
        [backoff.next() for _ in range(12)] for backoff in (Backoff(0.05, 1), Backoff(0.05, 1))
    )
    assert 0.025 <= some[0] <= 0.05
    assert all(0.5 <= pause <= 1 for pause in some[6:])
    assert some != other


def test_pauses_after_hours_of_failures() -> None:
    """However many attempts have failed there is a next pause; a success makes it short again."""
    backoff = Backoff(0.05, 1)
    assert max(backoff.next() for _ in range(3000)) <= 1
    backoff.reset()
    assert backoff.next() <= 0.05


async def test_those_who_wait_ask_together() -> None:
    """Requests that began one after the other ask again at the same moments, so that they share
    round trips."""
    loop = asyncio.get_running_loop()
    asked: list[int] = []
    step = 0

    def next_step() -> None:
        nonlocal step
        step += 1

    async def ask() -> bool:
        asked.append(step)
        loop.call_soon(next_step)
        return False

    async def wait(begin: float) -> bool:
        await asyncio.sleep(begin)
        return await poll_until(ask, 0.3, "Redis")

    assert not any(await asyncio.gather(*(wait(number / 1000) for number in range(40))))
    # The first question of each is not held up.
    again = len(asked) - 40
    assert len(set(asked)) - 40 < again / 3, asked
