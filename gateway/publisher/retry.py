"""The errors of publishers, and when a publisher tries again and when it gives up."""

import time
from typing import Self

from gateway.errors import GatewayError
from gateway.retry import Backoff


class EventRefused(GatewayError):
    """The arguments are no valid event; `str(error)` says why. Nothing was sent."""


class EventTooLarge(EventRefused):
    """The event has more bytes than the gateway allows. Nothing was sent."""


class PublishFailed(GatewayError):
    """Redis (or the gateway) did not accept what was sent, or its answer was lost.

    The event may have been published all the same. Publishing it again with the `idempotency_key`
    of this error within five minutes does not double it.
    """

    def __init__(self, message: str, idempotency_key: str | None = None) -> None:
        super().__init__(message)
        self.idempotency_key = idempotency_key


class RunRestarted(PublishFailed):
    """The execution was restarted, and this event is of the former run. Do not publish it again."""

    MESSAGE = (
        "Not published: execution {} was restarted, and this event is of the former run. Stop this "
        "worker; if it works for the new run, call `join_run` first."
    )

    @classmethod
    def of(cls, execution_id: str, idempotency_key: str | None) -> Self:
        """The error about an event of this execution."""
        return cls(cls.MESSAGE.format(execution_id), idempotency_key)


class RunForgotten(RunRestarted):
    """The execution was deleted (`sse-gateway forget`). Do not publish anything of it."""

    MESSAGE = "Not published: execution {} was deleted."


class NotReplicated(PublishFailed):
    """The event is published, but fewer replicas than `min_replicas` have it before the deadline.

    Readers get it, and a failover may lose it. Publishing it again with the `idempotency_key` of
    this error within five minutes does not double it, and waits for the replicas again.
    """


class BufferFull(GatewayError):
    """The buffer is full. This event was not added."""


class AttemptFailed(Exception):
    """One attempt to send something has failed; `str(error)` says what is wrong and what to do."""

    def __init__(
        self,
        problem: str,
        *,
        is_temporary: bool,
        detail: object = "",
        retry_after: float = 0.0,
        kind: type[PublishFailed] = PublishFailed,
    ) -> None:
        """*is_temporary*: the same call may succeed soon. *detail*: for the log. *retry_after*:
        seconds for which the other side wants no more attempts. *kind*: of the error that the
        caller gets, if there is no further attempt."""
        super().__init__(problem)
        self.is_temporary = is_temporary
        self.detail = detail
        self.retry_after = retry_after
        self.kind = kind


def backoff() -> Backoff:
    """The pauses between attempts to publish: at most a second each."""
    return Backoff(0.05, 1.0)


def attempt_seconds(deadline: float) -> float:
    """How long one attempt may take: a part of *deadline*, so that there is time for another one
    after a connection that is dead without having been closed."""
    return deadline / 4


class RetryDeadline:
    """The time that one call has left (seconds)."""

    def __init__(self, deadline: float, idempotency_key: str | None = None) -> None:
        self._deadline = deadline
        self._last_attempt = time.monotonic() + deadline - attempt_seconds(deadline)
        self._idempotency_key = idempotency_key
        self._backoff = backoff()
        # What is known for sure, if a later attempt gets no answer.
        self._published: AttemptFailed | None = None

    def pause_after(self, failure: AttemptFailed) -> float:
        """How many seconds to wait before the next attempt.

        Raises:
            PublishFailed: no attempt is left, or none would help.
        """
        left = self._last_attempt - time.monotonic()
        if failure.kind is NotReplicated:
            self._published = failure
        if not failure.is_temporary:
            raise self._failed("Not published", failure) from failure
        if left <= 0:
            known = self._published or failure
            raise self._failed(f"Not published within {self._deadline:g} s", known) from failure
        return min(max(self._backoff.next(), failure.retry_after), left)

    def _failed(self, what: str, failure: AttemptFailed) -> PublishFailed:
        return failure.kind(f"{what}. {failure}", self._idempotency_key)
