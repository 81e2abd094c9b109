"""What both publishers share: their settings, and the bounded buffer without its worker."""

import logging
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar

from gateway.contract.keys import PublishTo
from gateway.contract.registration import Registration
from gateway.contract.scripts import HistoryLimits
from gateway.errors import ConfigurationError
from gateway.events.ending import TerminalTypes, read_terminal_types
from gateway.log import RateLimitedLog
from gateway.publisher.composer import Composer, Outgoing
from gateway.publisher.encoding import Default
from gateway.publisher.events import EventMethods, R
from gateway.publisher.http_target import HttpTarget, Token, is_http_url
from gateway.publisher.over_redis import RedisTarget
from gateway.publisher.retry import (
    AttemptFailed,
    BufferFull,
    EventRefused,
    PublishFailed,
    RunRestarted,
    attempt_seconds,
    backoff,
)
from gateway.publisher.runs import Runs
from gateway.settings import TERMINAL_TYPES
from gateway.settings.redis_url import is_cluster_url

log = logging.getLogger(__name__)

LOG_INTERVAL = 10.0
"""Seconds between two log lines about a buffer that cannot send."""

_DEFAULT_LIMITS = HistoryLimits()

N = TypeVar("N")
"""What `register`, `flush` and `close` return: None, or in asyncio a coroutine."""

Target = RedisTarget | HttpTarget
"""Where to publish."""


class Producer(EventMethods[R], Generic[R, N]):
    """A publisher of events: each method sends its event before it returns."""

    buffered: "Buffer[N]"

    def __init__(
        self,
        url: str,
        *,
        token: Token | None = None,
        organization_id: str | None = None,
        allow_http: bool = False,
        deadline: float = 5.0,
        buffer_events: int = 1000,
        channel_prefix: str = "execution:",
        terminal_types: Iterable[str] = TERMINAL_TYPES,
        limits: HistoryLimits = _DEFAULT_LIMITS,
        event_max_bytes: int = 1024 * 1024,
        default: Default | None = None,
        min_replicas: int = 0,
        publish_to: PublishTo | None = None,
    ) -> None:
        """It connects at the first event.

        *url*: of the gateway's Redis, or of a gateway that takes events by HTTP
        (`GATEWAY_PUBLISH`). *deadline*: seconds after which a call gives up, however often it has
        tried by then. *buffer_events*: most events in `buffered`. *default*: called for a value in
        `data` of an unknown type, as `default` of `json.dumps` is. *terminal_types* and
        *event_max_bytes* must be as in the gateway's settings, and by default are.

        By HTTP alone: *token*: with the right to publish, or a function that returns one (for
        asyncio it may be a coroutine function); it is called at the first event, and again when
        the gateway refuses the token. *organization_id*: whose executions these are, where the
        token names several. *allow_http*: send the token without TLS to another machine.

        By Redis alone: *channel_prefix*, *limits*: as in the gateway's settings. *min_replicas*: an
        event counts as published only when so many replicas of Redis have it, which a failover to
        one of them cannot lose; otherwise `NotReplicated` is raised at the deadline. *publish_to*:
        on which channels, for gateways that subscribe to the `pattern` (the default), to each
        `execution` that is watched (`GATEWAY_SUBSCRIPTION`), or for `both` (the default on a
        cluster).

        Raises:
            ConfigurationError: an argument is not valid; it names each.
        """
        target: Target
        if is_http_url(url):
            target = HttpTarget(url, token, organization_id, allow_http, min_replicas)
        else:
            to = publish_to or ("both" if is_cluster_url(url) else "pattern")
            target = RedisTarget(url, channel_prefix, limits, min_replicas, token, to)
        endings = _checked(target, terminal_types, deadline=deadline, buffer_events=buffer_events)
        super().__init__(Composer(endings, event_max_bytes, default))
        self._deadline = deadline
        self._buffer_events = buffer_events
        self._runs = Runs()
        self._target = target
        self._connect(target, attempt_seconds(deadline))

    def register(
        self, execution_id: str, organization_id: str, workflow_id: str | None = None
    ) -> N:
        """Register an execution: only this organization may watch it. Repeating is harmless.

        Raises:
            RegistrationRefused: it is registered for another organization or workflow.
            PublishFailed: Redis, or the gateway, did not accept it before the deadline.
        """
        return self._register(Registration(execution_id, organization_id, workflow_id))

    def flush(self, timeout: float | None = None) -> N:
        """Wait until the buffer is empty, at most *timeout* seconds (default: the deadline).

        Raises:
            PublishFailed: some events still wait; the buffer goes on trying.
        """
        return self.buffered.flush(timeout)

    def close(self, timeout: float | None = None) -> N:
        """Flush the buffer, stop it, and close the connections.

        Raises:
            PublishFailed: some events still waited after *timeout* seconds; they are lost.
        """
        return self._close(timeout)

    def join_run(self, execution_id: str) -> None:
        """What follows belongs to the present run of *execution_id*.

        Call it where a process that has published in the former run goes on with the new one.
        """
        self._runs.forget(execution_id)

    @abstractmethod
    def _connect(self, target: Target, timeout: float) -> None:
        """Make the transport and the buffer; called once. *timeout*: seconds of an attempt."""

    @abstractmethod
    def _register(self, registration: Registration) -> N: ...

    @abstractmethod
    def _close(self, timeout: float | None) -> N: ...


class Buffer(EventMethods[None], Generic[N]):
    """Accepts events at once and sends them in the background, in order, however long it takes.

    Events that are not valid are refused at once, as by the publisher. `len` is how many wait.
    """

    def __init__(
        self, producer: Producer[Any, N], send: Callable[[Sequence[Outgoing]], Any]
    ) -> None:
        super().__init__(producer._composer)
        self._target = producer._target
        self._max_events = producer._buffer_events
        self._deadline = producer._deadline
        self._send = send
        self._waiting: deque[Outgoing] = deque()
        # How many of them are sent in one call: the same until it is answered, since its
        # idempotency key is of exactly these.
        self._calling = 0
        self._alone = 0
        """How many are sent in calls of their own, since a call of all of them was refused."""
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
                f"{self._problem or 'They are sent more slowly than they come.'}"
            )
        self._waiting.append(event)

    def _batch(self) -> list[Outgoing]:
        """The events to send in one call."""
        if not self._calling:
            self._calling = 1 if self._alone else self._target.most(self._waiting)
        return list(islice(self._waiting, self._calling))

    def _empty(self) -> None:
        self._waiting.clear()
        self._calling = self._alone = 0

    def _sent(self) -> None:
        for _ in range(self._calling):
            self._waiting.popleft()
        self._alone = max(0, self._alone - self._calling)
        self._calling = 0
        self._problem = ""
        self._backoff.reset()

    def _refused(self, refusal: RunRestarted | EventRefused) -> None:
        if self._calling > 1:
            # One of them may be the reason: only that one is left out.
            self._alone, self._calling = self._calling, 0
            return
        self._log.warning(log, "A buffered event is not sent. %s", refusal)
        self._sent()

    def _pause_after(self, failure: AttemptFailed) -> float:
        """Seconds until the next attempt: there is always one, also where it is refused."""
        self._problem = str(failure)
        self._log.warning(log, "%d events wait. %s (%s)", len(self), failure, failure.detail)
        return max(self._backoff.next(), failure.retry_after)

    def _unsent(self) -> PublishFailed:
        return PublishFailed(f"{len(self)} events are not sent yet. {self._problem}".strip())


def _checked(target: Target, terminal_types: Iterable[str], **positive: float) -> TerminalTypes:
    """What each type says of the end of a run.

    Raises:
        ConfigurationError: one of the arguments of a Producer is not valid.
    """
    mistakes = list(target.mistakes())
    for name, value in positive.items():
        if not value > 0:
            mistakes.append(f"{name} is {value}: make it more than 0.")
    endings: TerminalTypes = {}
    try:
        endings = read_terminal_types(terminal_types)
    except ValueError as error:
        mistakes.append(f"terminal_types: {error}.")
    if mistakes:
        raise ConfigurationError(mistakes)
    return endings
