"""How often to try again, and when to give up: the same for all publishers. It neither waits nor
sends."""

import random
import re
import time

from redis.exceptions import AuthenticationError, DataError, ResponseError

from gateway.bus.errors import describe_redis_error
from gateway.errors import GatewayError


class EventRefused(GatewayError):
    """What was given can be no event; `str(error)` says why. Nothing was sent."""


class EventTooLarge(EventRefused):
    """The event has more bytes than the gateway lets through. Nothing was sent."""


class PublishFailed(GatewayError):
    """Redis did not take what was sent, or its answer was lost.

    The event may have got through all the same. Publishing it again with the `idempotency_key` of
    this error within five minutes does not double it.
    """

    def __init__(self, message: str, idempotency_key: str | None = None) -> None:
        super().__init__(message)
        self.idempotency_key = idempotency_key


class BufferFull(GatewayError):
    """The buffer holds as many events as it may. This one was not taken."""


_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0

# A reply of Redis with one of these words goes away by itself, after a failover for example.
_TEMPORARY = re.compile(
    r"\b(BUSY|CLUSTERDOWN|LOADING|MASTERDOWN|MISCONF|NOREPLICAS|OOM|READONLY|TRYAGAIN)\b"
)


def attempt_seconds(deadline: float) -> float:
    """How long one attempt may take.

    A part of *deadline*: a connection that is dead without having been closed is given up early
    enough for another one.
    """
    return deadline / 4


def is_temporary(error: Exception) -> bool:
    """Whether the same call may succeed in a moment, though it met *error*."""
    match error:
        case AuthenticationError() | DataError():
            return False
        case ResponseError():
            # redis-py takes the leading word out of the text where it knows it.
            return _TEMPORARY.search(f"{error.status_code} {error}") is not None
        case _:
            return True


class Backoff:
    """Pauses in seconds between attempts: longer and longer, and never the same twice."""

    def __init__(self) -> None:
        self._next = _FIRST_PAUSE

    def __next__(self) -> float:
        pause, self._next = self._next, min(self._next * 2, _LONGEST_PAUSE)
        # All workers lose Redis at the same moment; they should not come back at the same one.
        return random.uniform(pause / 2, pause)  # noqa: S311 - spreads load


class RetryDeadline:
    """One call's time until its deadline (seconds)."""

    def __init__(self, deadline: float, idempotency_key: str | None = None) -> None:
        self._deadline = deadline
        self._last_attempt = time.monotonic() + deadline - attempt_seconds(deadline)
        self._idempotency_key = idempotency_key
        self._pauses = Backoff()

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
        return min(next(self._pauses), left)

    def _failed(self, what: str, error: Exception) -> PublishFailed:
        return PublishFailed(f"{what}. {describe_redis_error(error)}", self._idempotency_key)
