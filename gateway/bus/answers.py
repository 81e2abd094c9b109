"""Asks Redis about many executions in one round trip, and decodes each answer by itself.

Anyone with write access to Redis can put anything there. An answer that makes no sense refuses that
execution alone, with a line in the log; the others in the same round trip are answered.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from redis.asyncio import Redis

from gateway.bus.errors import FOREIGN_VALUE, REDIS_ERRORS, describe_redis_error, redis_errors
from gateway.contract.keys import meta_key
from gateway.errors import ExecutionForgotten, RedisUnavailable
from gateway.log import RateLimitedLog

log = logging.getLogger(__name__)

LOG_INTERVAL = 10.0
"""Seconds between two log lines about answers that make no sense."""

T = TypeVar("T")


async def read_meta(redis: Redis, execution_ids: Iterable[str], *fields: str) -> list[Any]:
    """These *fields* of each execution's `meta`; where Redis refuses one, its exception.

    Raises:
        RedisUnavailable: Redis could not be asked.
    """
    with redis_errors():
        async with redis.pipeline(transaction=False) as pipeline:
            for execution_id in execution_ids:
                pipeline.hmget(meta_key(execution_id), *fields)
            answers: list[Any] = await pipeline.execute(raise_on_error=False)
    return answers


class Answers:
    """Decodes the answers to one kind of question."""

    def __init__(self, what: str) -> None:
        """*what*: begins the line in the log, before the execution's id."""
        self._what = what
        self._log = RateLimitedLog(LOG_INTERVAL)

    def decode(
        self, execution_ids: Iterable[str], decode: Callable[[Any], T], answers: Sequence[object]
    ) -> list[T | RedisUnavailable]:
        """Each of *answers* decoded, or why it cannot be.

        An answer is an exception where Redis refused; *decode* may raise ValueError, TypeError or
        AttributeError.
        """
        return [
            self._decode(execution_id, decode, answer)
            for execution_id, answer in zip(execution_ids, answers, strict=True)
        ]

    def _decode(
        self, execution_id: str, decode: Callable[[Any], T], answer: object
    ) -> T | RedisUnavailable:
        try:
            if isinstance(answer, Exception):
                raise answer
            return decode(answer)
        except REDIS_ERRORS as error:
            if str(error).startswith("FORGOTTEN"):
                return ExecutionForgotten()
            refusal, reason = describe_redis_error(error), str(error)
        except (ValueError, TypeError, AttributeError) as error:
            refusal, reason = FOREIGN_VALUE, f"{type(error).__name__}: {error}"
        self._log.warning(
            log, "%s %s cannot be read: %s (%.200s)", self._what, execution_id, refusal, reason
        )
        return RedisUnavailable(refusal)
