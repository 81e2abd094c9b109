"""Reads what Redis answers about one execution.

Anyone with write access to Redis can put anything there. An answer that makes no sense refuses that
execution alone, with a line in the log.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from gateway.bus.errors import FOREIGN_VALUE, REDIS_ERRORS, describe_redis_error, redis_errors
from gateway.contract.keys import meta_key
from gateway.errors import ExecutionForgotten, RedisUnavailable
from gateway.log import RateLimitedLog

log = logging.getLogger(__name__)

LOG_INTERVAL = 10.0
"""Seconds between two log lines about answers that make no sense."""


async def ask_metas(redis: Redis, execution_ids: Iterable[str], *fields: str) -> list[Any]:
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
    """The answers to one kind of question."""

    def __init__(self, what: str) -> None:
        """*what*: begins the line in the log, before the execution's id."""
        self._what = what
        self._log = RateLimitedLog(LOG_INTERVAL)

    @contextmanager
    def about(self, execution_id: str) -> Iterator[None]:
        """The block asks about this execution, and decodes the answer.

        Raises:
            ExecutionForgotten: it was deleted.
            RedisUnavailable: Redis was away or refused, or the answer makes no sense (the block
                raised ValueError, TypeError or AttributeError).
        """
        try:
            yield
        except REDIS_ERRORS as error:
            if str(error).startswith("FORGOTTEN"):
                raise ExecutionForgotten from None
            refusal, reason = describe_redis_error(error), str(error)
            if not isinstance(error, ResponseError):
                raise RedisUnavailable(refusal) from error
        except (ValueError, TypeError, AttributeError) as error:
            refusal, reason = FOREIGN_VALUE, f"{type(error).__name__}: {error}"
        else:
            return
        self._log.warning(
            log, "%s %s cannot be read: %s (%.200s)", self._what, execution_id, refusal, reason
        )
        raise RedisUnavailable(refusal)
