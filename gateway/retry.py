"""Retries: the pauses between attempts, and how long a request waits for an answer."""

import asyncio
import random
from collections.abc import Awaitable, Callable

from redis.backoff import EqualJitterBackoff

from gateway.errors import BackendUnavailable, RedisUnavailable, Unavailable

_MIN_ATTEMPT = 1.0
"""Seconds, or twice what the last answer took: an attempt that the deadline cut off sooner than
this proves nothing, and the answer before it counts. Without it a backend that needs a moment for
its "no" would seem to be down, for some executions and not for others."""

_GRID = 0.025
"""Seconds between two moments at which requests ask again: so those that wait share a round trip,
which costs ten times as much as a question in it."""


def jittered(seconds: float) -> float:
    """*seconds*, shortened at random by up to a half: clients that failed together, or started
    together, do not come back together."""
    return random.uniform(seconds / 2, seconds)  # noqa: S311 - spreads load


class Backoff:
    """Seconds to wait before each next attempt: longer after every failure, and random, since all
    that lost a server at the same moment should not return at the same moment."""

    def __init__(self, first: float, longest: float) -> None:
        """The first pause is *first* at most, every one *longest* at most, and none less than half
        of its most."""
        self._pauses = EqualJitterBackoff(cap=longest, base=first)
        self._failures = 0

    def next(self) -> float:
        """The pause after one more failure."""
        pause = self._pauses.compute(self._failures)
        # redis-py computes 2**failures as a float, which overflows at 1024.
        self._failures = min(self._failures + 1, 64)
        return pause

    def reset(self) -> None:
        """An attempt has succeeded."""
        self._failures = 0


def unavailable(reason: str) -> Unavailable:
    """The refusal of a request that waited in vain."""
    return Unavailable(f"The request cannot be served now: {reason} Try again in a few seconds.")


async def poll_until(ask: Callable[[], Awaitable[bool]], seconds: float, name: str) -> bool:
    """Ask again and again until the answer is yes; False if it is still no after *seconds*.

    A "no" may only mean "not yet": a page opens its stream the moment it starts the run. Every "no"
    takes the same time, so that the time does not show what exists. *name*: of the system that is
    asked, for the message when it does not answer.

    Raises:
        Unavailable: the last attempt got no answer.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    # Quick for the usual race, then easy on the system that is asked.
    pauses = Backoff(0.05, 0.5)
    left = seconds
    problem = ""
    min_attempt = 0.0
    while left > 0:
        started = loop.time()
        try:
            async with asyncio.timeout_at(deadline):
                if await ask():
                    return True
            problem = ""
            min_attempt = max(_MIN_ATTEMPT, 2 * (loop.time() - started))
        except (RedisUnavailable, BackendUnavailable) as error:
            problem = str(error)
        except TimeoutError:
            if loop.time() - started >= min_attempt:
                problem = problem or f"{name} does not answer in time."
        now = loop.time()
        left = deadline - now
        pause = pauses.next()
        pause += _GRID - (now + pause) % _GRID
        await asyncio.sleep(max(0.0, min(pause, left)))
        # No attempt without time for its answer: it would look like a system that is down.
        left -= pause
    if problem:
        raise unavailable(problem)
    return False
