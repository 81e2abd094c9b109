"""Decodes what Redis answers about many executions in one round trip, each answer by itself.

Whoever may write to Redis can put anything there. An answer that makes no sense is a refusal for
that execution alone, with a line in the log; those asked for along with it are answered.
"""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from gateway.bus.errors import FOREIGN_VALUE, REDIS_ERRORS, describe_redis_error
from gateway.errors import RedisUnavailable
from gateway.log import RateLimitedLog

log = logging.getLogger(__name__)

LOG_INTERVAL = 10.0
"""Seconds between two log lines about answers that make no sense."""

T = TypeVar("T")


class Answers:
    """Decodes the answers to one kind of question."""

    def __init__(self, what: str) -> None:
        """*what*: begins the line in the log, before the execution's id."""
        self._what = what
        self._log = RateLimitedLog(LOG_INTERVAL)

    def decode(
        self, execution_id: str, decode: Callable[[Any], T], answer: object
    ) -> T | RedisUnavailable:
        """What *answer* says of this execution, or why it says nothing.

        *answer* is an exception where Redis refused; *decode* may raise ValueError, TypeError or
        AttributeError.
        """
        try:
            if isinstance(answer, Exception):
                raise answer
            return decode(answer)
        except REDIS_ERRORS as error:
            refusal, reason = describe_redis_error(error), str(error)
        except (ValueError, TypeError, AttributeError) as error:
            refusal, reason = FOREIGN_VALUE, f"{type(error).__name__}: {error}"
        if (held_back := self._log.due()) is not None:
            log.warning(
                "%s %s cannot be read: %s (%.200s; %d more such answers since the last line)",
                self._what,
                execution_id,
                refusal,
                reason,
                held_back,
            )
        return RedisUnavailable(refusal)
