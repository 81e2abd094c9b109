"""How long a request is held before it is refused, and what it is told then.

The page opens its stream the moment it starts the run, so a "no" may only mean "not yet", and
trouble may be passing. Whom to ask, and what, is the caller's affair.
"""

import asyncio
from collections.abc import Awaitable, Callable

from redis.backoff import EqualJitterBackoff

from gateway.errors import BackendUnavailable, RedisUnavailable, Unavailable

_MIN_ATTEMPT = 1.0
"""Seconds, or twice what the last answer took: a question that had less of them before it was cut
off by the deadline says nothing, and the answer before it counts. Else a backend that needs a
moment for its "no" would seem to be away, for some executions and not for others."""


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


def unavailable(why: str) -> Unavailable:
    """The refusal for a request that was held in vain."""
    return Unavailable(f"The stream cannot be served now: {why} Try again in a few seconds.")


async def poll_until(ask: Callable[[], Awaitable[bool]], seconds: float, whom: str) -> bool:
    """Ask again and again until the answer is yes; False if it was still no after *seconds*.

    Every "no" takes the same time, so that nobody learns from it what exists. *whom* names who is
    asked, for the sentence that a request gets when there is no answer.

    Raises:
        Unavailable: the last question got no answer.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    # Quick for the usual race, then easy on the one that is asked.
    pauses = Backoff(0.05, 0.5)
    left = seconds
    problem = ""
    min_attempt = 0.0
    while left > 0:
        asked = loop.time()
        try:
            async with asyncio.timeout_at(deadline):
                if await ask():
                    return True
            problem = ""
            min_attempt = max(_MIN_ATTEMPT, 2 * (loop.time() - asked))
        except (RedisUnavailable, BackendUnavailable) as error:
            problem = str(error)
        except TimeoutError:
            if loop.time() - asked >= min_attempt:
                problem = problem or f"{whom} does not answer in time."
        left = deadline - loop.time()
        pause = pauses.next()
        await asyncio.sleep(max(0.0, min(pause, left)))
        # A last look without time for its answer would pass for one who is away.
        left -= pause
    if problem:
        raise unavailable(problem)
    return False
