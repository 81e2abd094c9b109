"""What both publishers share: their settings, and the bounded buffer without its worker."""

import logging
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from gateway.contract.registration import Registration
from gateway.contract.scripts import HistoryLimits
from gateway.errors import ConfigurationError
from gateway.events.ending import TerminalTypes, read_terminal_types
from gateway.log import RateLimitedLog
from gateway.publisher.composer import Composer, Outgoing
from gateway.publisher.encoding import Default
from gateway.publisher.events import EventMethods, R
from gateway.publisher.retry import (
    BufferFull,
    PublishFailed,
    RunRestarted,
    TooFewReplicas,
    attempt_seconds,
    backoff,
    describe,
)
from gateway.publisher.runs import Runs
from gateway.settings import TERMINAL_TYPES, check_redis_url

log = logging.getLogger(__name__)

LOG_INTERVAL = 10.0
"""Seconds between two log lines about a buffer that cannot send."""

_DEFAULT_LIMITS = HistoryLimits()

N = TypeVar("N")
"""What `register`, `flush` and `close` return: None, or in asyncio a coroutine."""


def _mistakes(
    redis_url: str, deadline: float, buffer_events: int, min_replicas: int
) -> Iterator[str]:
    for name, value in (("deadline", deadline), ("buffer_events", buffer_events)):
        if not value > 0:
            yield f"{name} is {value}: make it more than 0."
    if min_replicas < 0:
        yield f"min_replicas is {min_replicas}: make it 0 or more."
    try:
        check_redis_url(redis_url)
    except ValueError as error:
        yield f"redis_url: {error}."


class Producer(EventMethods[R], Generic[R, N]):
    """A publisher of events: each method sends its event before it returns."""

    buffered: "Buffer[N]"

    def __init__(
        self,
        redis_url: str,
        *,
        deadline: float = 5.0,
        buffer_events: int = 1000,
        channel_prefix: str = "execution:",
        terminal_types: Iterable[str] = TERMINAL_TYPES,
        limits: HistoryLimits = _DEFAULT_LIMITS,
        event_max_bytes: int = 1024 * 1024,
        default: Default | None = None,
        min_replicas: int = 0,
    ) -> None:
        """It connects at the first event.

        *deadline*: seconds after which a call gives up, however often it has tried by then.
        *buffer_events*: most events in `buffered`. *default*: called for a value in `data` of an
        unknown type, as `default` of `json.dumps` is. *min_replicas*: an event counts as published
        only when so many replicas of Redis have it, which a failover to one of them cannot lose;
        otherwise `NotReplicated` is raised at the deadline. The others must be as in the gateway's
        settings, and by default are.

        Raises:
            ConfigurationError: an argument is not valid; it names each.
        """
        mistakes = list(_mistakes(redis_url, deadline, buffer_events, min_replicas))
        endings: TerminalTypes = {}
        try:
            endings = read_terminal_types(terminal_types)
        except ValueError as error:
            mistakes.append(f"terminal_types: {error}.")
        if mistakes:
            raise ConfigurationError(mistakes)
        super().__init__(Composer(channel_prefix, endings, limits, event_max_bytes, default))
        self._deadline = deadline
        self._runs = Runs()
        self._min_replicas = min_replicas
        # Less than an attempt, so that its answer comes in time.
        self._wait_ms = int(attempt_seconds(deadline) * 600)
        self._connect(redis_url, buffer_events)

    def register(
        self, execution_id: str, organization_id: str, workflow_id: str | None = None
    ) -> N:
        """Register an execution: only this organization may watch it. Repeating is harmless.

        Raises:
            RegistrationRefused: it is registered for another organization or workflow.
            PublishFailed: Redis did not accept it before the deadline.
        """
        return self._register(Registration(execution_id, organization_id, workflow_id))

    def flush(self, timeout: float | None = None) -> N:
        """Wait until the buffer is empty, at most *timeout* seconds (default: the deadline).

        Raises:
            PublishFailed: some events still wait; the buffer goes on trying.
        """
        return self.buffered.flush(timeout)

    def close(self, timeout: float | None = None) -> N:
        """Flush the buffer, stop it, and close the connections to Redis.

        Raises:
            PublishFailed: some events still waited after *timeout* seconds; they are lost.
        """
        return self._close(timeout)

    def join_run(self, execution_id: str) -> None:
        """What follows belongs to the present run of *execution_id*.

        Call it where a process that has published in the former run goes on with the new one.
        """
        self._runs.forget(execution_id)

    def _replicated(self, answer: bytes, replicas: int) -> bytes:
        if replicas < self._min_replicas:
            raise TooFewReplicas(replicas, self._min_replicas)
        return answer

    @abstractmethod
    def _connect(self, redis_url: str, buffer_events: int) -> None:
        """Make the client and the buffer; called once."""

    @abstractmethod
    def _register(self, registration: Registration) -> N: ...

    @abstractmethod
    def _close(self, timeout: float | None) -> N: ...


class Buffer(EventMethods[None], Generic[N]):
    """Accepts events at once and sends them in the background, in order, however long it takes.

    Events that are not valid are refused at once, as by the publisher. `len` is how many wait.
    """

    def __init__(
        self,
        composer: Composer,
        max_events: int,
        deadline: float,
        send: Callable[[Outgoing], Any],
    ) -> None:
        super().__init__(composer)
        self._max_events = max_events
        self._deadline = deadline
        self._send = send
        self._waiting: deque[Outgoing] = deque()
        self._closed = False
        self._problem = ""
        self._backoff = backoff()
        self._log = RateLimitedLog(LOG_INTERVAL)
        self._reset()

    @abstractmethod
    def _reset(self) -> None:
        """Begin without a worker."""

    @abstractmethod
    def flush(self, timeout: float | None = None) -> N:
        """See `Producer.flush`."""

    @abstractmethod
    def close(self, timeout: float | None = None) -> N:
        """Flush and stop; no more events are accepted."""

    def __len__(self) -> int:
        return len(self._waiting)

    def _add(self, event: Outgoing) -> None:
        if self._closed:
            raise PublishFailed("Not published: this publisher is closed.", event.idempotency_key)
        if len(self._waiting) >= self._max_events:
            raise BufferFull(
                f"{self._max_events} events wait already, so this one was not added. "
                f"{self._problem or 'Redis is slower than the producer.'}"
            )
        self._waiting.append(event)

    def _sent(self) -> None:
        self._waiting.popleft()
        self._problem = ""
        self._backoff.reset()

    def _left_out(self, refusal: RunRestarted) -> None:
        self._log.warning(log, "An event is left out. %s", refusal)

    def _pause_after(self, error: Exception) -> float:
        """Seconds until the next attempt: there is always one, also where Redis refuses."""
        self._problem = describe(error)
        self._log.warning(log, "%d events wait. %s (%s)", len(self), self._problem, error)
        return self._backoff.next()

    def _unsent(self) -> PublishFailed:
        return PublishFailed(f"{len(self)} events are not sent yet. {self._problem}".strip())
