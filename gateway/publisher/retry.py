"""The errors of publishers, and when a publisher tries again and when it gives up."""

import time

from redis.exceptions import AuthenticationError, DataError, RedisError, ResponseError

from gateway.bus.errors import code_of, describe_redis_error
from gateway.errors import GatewayError
from gateway.retry import Backoff


class EventRefused(GatewayError):
    """The arguments are no valid event; `str(error)` says why. Nothing was sent."""


class EventTooLarge(EventRefused):
    """The event has more bytes than the gateway allows. Nothing was sent."""


class PublishFailed(GatewayError):
    """Redis did not accept what was sent, or its answer was lost.

    The event may have been published all the same. Publishing it again with the `idempotency_key`
    of this error within five minutes does not double it.
    """

    def __init__(self, message: str, idempotency_key: str | None = None) -> None:
        super().__init__(message)
        self.idempotency_key = idempotency_key


class RunRestarted(PublishFailed):
    """The execution was restarted, and this event is of the former run. Do not publish it again."""


class RunForgotten(RunRestarted):
    """The execution was deleted (`sse-gateway forget`). Do not publish anything of it."""


class NotReplicated(PublishFailed):
    """The event is published, but fewer replicas than `min_replicas` have it before the deadline.

    Readers get it, and a failover may lose it. Publishing it again with the `idempotency_key` of
    this error within five minutes does not double it, and waits for the replicas again.
    """


class TooFewReplicas(RedisError):
    """One attempt: Redis has what was sent, and too few replicas do."""

    def __init__(self, replicas: int, wanted: int) -> None:
        super().__init__(
            f"Redis has published it, but {replicas} of {wanted} replicas have it: check that they "
            "run and follow the master."
        )


class BufferFull(GatewayError):
    """The buffer is full. This event was not added."""


_TEMPORARY = frozenset([
    "BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF", "NOREPLICAS", "OOM", "READONLY",
    "TRYAGAIN",
])  # fmt: skip
"""A refusal with one of these codes is temporary, after a failover for example."""


def describe(error: Exception) -> str:
    """What is wrong, and what to do."""
    return str(error) if isinstance(error, TooFewReplicas) else describe_redis_error(error)


def backoff() -> Backoff:
    """The pauses between attempts to publish: at most a second each."""
    return Backoff(0.05, 1.0)


def attempt_seconds(deadline: float) -> float:
    """How long one attempt may take: a part of *deadline*, so that there is time for another one
    after a connection that is dead without having been closed."""
    return deadline / 4


def is_temporary(error: Exception) -> bool:
    """Whether the same call may succeed soon, though it met *error*."""
    match error:
        case AuthenticationError() | DataError():
            return False
        case ResponseError():
            return code_of(error) in _TEMPORARY
        case _:
            return True


class RetryDeadline:
    """The time that one call has left (seconds)."""

    def __init__(self, deadline: float, idempotency_key: str | None = None) -> None:
        self._deadline = deadline
        self._last_attempt = time.monotonic() + deadline - attempt_seconds(deadline)
        self._idempotency_key = idempotency_key
        self._backoff = backoff()

    def pause_after(self, error: Exception) -> float:
        """How many seconds to wait before the next attempt.

        Raises:
            PublishFailed: no attempt is left, or none would help.
        """
        left = self._last_attempt - time.monotonic()
        if not is_temporary(error):
            raise self._failed("Not published", error) from error
        if left <= 0:
            raise self._failed(f"Not published within {self._deadline:g} s", error) from error
        return min(self._backoff.next(), left)

    def _failed(self, what: str, error: Exception) -> PublishFailed:
        kind = NotReplicated if isinstance(error, TooFewReplicas) else PublishFailed
        return kind(f"{what}. {describe(error)}", self._idempotency_key)
