"""How long a request is held before it is refused, and what it is told then.

The page opens its stream the moment it starts the run, so a "no" may only mean "not yet", and
trouble may be passing. Whom to ask, and what, is the caller's affair.
"""

import asyncio
from collections.abc import Awaitable, Callable

from gateway.errors import BackendUnavailable, RedisUnavailable, Unavailable

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 0.5
"""Seconds between two questions: quick for the usual race, then easy on whoever is asked."""

_MIN_ATTEMPT = 1.0
"""Seconds, or twice what the last answer took: a question that had less of them before it was cut
off by the deadline says nothing, and the answer before it counts. Else a backend that needs a
moment for its "no" would seem to be away, for some executions and not for others."""


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
    pause = _FIRST_PAUSE
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
        await asyncio.sleep(max(0.0, min(pause, left)))
        # A last look without time for its answer would pass for one who is away.
        left -= pause
        pause = min(pause * 2, _LONGEST_PAUSE)
    if problem:
        raise unavailable(problem)
    return False
