"""The publisher for Flask, Celery and plain threads, and its buffer.

Any number of threads may share one. After a fork the child opens its own connections, and its
buffer is empty: the parent sends what waited there.
"""

import atexit
import math
import os
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any, NamedTuple, Self, TypeVar

from redis import Connection, ConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from gateway.bus.errors import REDIS_ERRORS, is_of_wrong_server
from gateway.bus.sentinel import MOST_AGE
from gateway.contract.registration import Registration
from gateway.contract.scripts import Call
from gateway.publisher.base import Buffer, Producer
from gateway.publisher.composer import Composer, Outgoing
from gateway.publisher.retry import RetryDeadline, RunRestarted, attempt_seconds
from gateway.settings.redis_url import is_sentinel_url, is_tls_url, parse_sentinel_url

T = TypeVar("T")


class _Client(NamedTuple):
    redis: Redis
    close: Callable[[], None]
    ask: Callable[[], object] | None = None
    """Asks the sentinels where the master is, and goes there; None where there are none."""


def _create_redis(url: str, timeout: float) -> _Client:
    """A client for *url*; it connects at the first command.

    *timeout*: seconds for a connect and for an answer. Raises ValueError as `create_redis` does.
    """
    options: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        # The publisher retries itself.
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "driver_info": None,
    }
    if is_tls_url(url):
        options["redis_connect_func"] = _greet
    # As many connections as threads publish at the same time: none waits for a free one.
    if not is_sentinel_url(url):
        redis = Redis.from_pool(ConnectionPool.from_url(url, **options))
        return _Client(redis, redis.close)
    given = parse_sentinel_url(url)
    asking = {**options, **given.sentinel_options, "ssl": given.tls}
    # All of them within an attempt.
    asking["socket_timeout"] = asking["socket_connect_timeout"] = timeout / len(given.sentinels)
    sentinels = Sentinel(given.sentinels, sentinel_kwargs=asking)
    pool = SentinelConnectionPool(
        given.master, sentinels, ssl=given.tls, **{**options, **given.options}
    )
    redis = Redis.from_pool(pool)

    def close() -> None:
        redis.close()
        sentinels.close()

    return _Client(redis, close, pool.get_master_address)


def _greet(connection: Connection) -> None:
    """Read one answer on each new TLS connection.

    TLS 1.3 sends session tickets after the handshake. redis-py takes waiting bytes for the rest of
    an earlier answer and drops such a connection. Reading an answer reads the tickets too.
    """
    connection.on_connect()
    connection.send_command("PING", check_health=False)
    connection.read_response()


class SyncPublisher(Producer[str]):
    """Publishes events from threads; a method returns the event's id."""

    buffered: "SyncBuffer"
    """The same methods for code that must not wait: they only add the event to a buffer.

    A program that ends without `close` still flushes it, unless it is killed or ends with
    `os._exit`, as children of a Celery pool do.
    """

    def _connect(self, redis_url: str, buffer_events: int) -> None:
        self._redis, self._close_redis, self._ask = _create_redis(
            redis_url, attempt_seconds(self._deadline)
        )
        self._answered_at = -math.inf
        self.buffered = SyncBuffer(self._composer, buffer_events, self._deadline, self._send)

    def register(
        self, execution_id: str, organization_id: str, workflow_id: str | None = None
    ) -> None:
        """Register an execution: only this organization may watch it. Repeating is harmless.

        Raises:
            RegistrationRefused: it is registered for another organization or workflow.
            PublishFailed: Redis did not accept it before the deadline.
        """
        registration = Registration(execution_id, organization_id, workflow_id)
        call = registration.call(self._composer.limits)
        registration.check(self._retry(lambda: self._run(call), RetryDeadline(self._deadline)))

    def flush(self, timeout: float | None = None) -> None:
        """Wait until the buffer is empty, at most *timeout* seconds (default: the deadline).

        Raises:
            PublishFailed: some events still wait; the buffer goes on trying.
        """
        self.buffered.flush(timeout)

    def close(self, timeout: float | None = None) -> None:
        """Flush the buffer, stop it, and close the connections to Redis.

        Raises:
            PublishFailed: some events still waited after *timeout* seconds; they are lost.
        """
        try:
            self.buffered.close(timeout)
        finally:
            self._close_redis()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _deliver(self, event: Outgoing) -> str:
        deadline = RetryDeadline(self._deadline, event.idempotency_key)
        return self._retry(lambda: self._send(event), deadline)

    def _send(self, event: Outgoing) -> str:
        with self._runs.refusals(event):
            answer = self._run(self._runs.call(event))
        return self._runs.published(event, answer)

    def _run(self, call: Call) -> bytes:
        self._make_sure()
        try:
            return self._call(call)
        except REDIS_ERRORS as error:
            self._answered_at = -math.inf
            if is_of_wrong_server(error):
                # The others resolve the name again too.
                self._redis.connection_pool.disconnect(inuse_connections=False)
            raise

    def _make_sure(self) -> None:
        """As `gateway.bus.sentinel.Master.make_sure`. No thread and no lock: others may ask too."""
        now = time.monotonic()
        if self._ask is None or now - self._answered_at < MOST_AGE:
            return
        self._answered_at = now
        # Sentinels that do not answer stop no write: the connections may work without them.
        with suppress(*REDIS_ERRORS):
            self._ask()

    def _call(self, call: Call) -> bytes:
        script, keys, arguments = call
        if self._min_replicas:
            # In one pipeline, so on one connection: WAIT is about what that one has written.
            with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.eval(script.text, len(keys), *keys, *arguments)
                pipeline.execute_command("WAIT", self._min_replicas, self._wait_ms)
                return self._replicated(*pipeline.execute())
        answer: bytes
        try:
            answer = self._redis.evalsha(script.sha, len(keys), *keys, *arguments)
        except NoScriptError:
            answer = self._redis.eval(script.text, len(keys), *keys, *arguments)
        return answer

    def _retry(self, call: Callable[[], T], deadline: RetryDeadline) -> T:
        while True:
            try:
                return call()
            except REDIS_ERRORS as error:
                pause = deadline.pause_after(error)
            time.sleep(pause)


class SyncBuffer(Buffer):
    """Sends in a thread that runs while events wait. Its methods return None at once."""

    def __init__(
        self,
        composer: Composer,
        max_events: int,
        deadline: float,
        send: Callable[[Outgoing], object],
    ) -> None:
        super().__init__(composer, max_events, deadline)
        self._send = send
        self._reset()
        _buffers.add(self)

    def _reset(self) -> None:
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._changed = threading.Condition()
        """Guards the events and the thread; notified when an event has been sent."""

    def _empty_in_child(self) -> None:
        # New locks: the parent's threads may have held the old ones at the fork.
        self._waiting.clear()
        self._reset()

    def flush(self, timeout: float | None = None) -> None:
        """See `SyncPublisher.flush`."""
        seconds = self._deadline if timeout is None else timeout
        with self._changed:
            if not self._changed.wait_for(lambda: not self._waiting, seconds):
                raise self._unsent()

    def close(self, timeout: float | None = None) -> None:
        """Flush and stop; no more events are accepted."""
        with self._changed:
            self._closed = True
        try:
            self.flush(timeout)
        finally:
            self._stopped.set()
            with self._changed:
                thread = self._thread
            if thread is not None:
                # It may be in its last attempt, which has a time limit.
                thread.join()
            self._waiting.clear()

    def _deliver(self, event: Outgoing) -> None:
        with self._changed:
            self._add(event)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._drain, name="publisher-buffer", daemon=True
                )
                self._thread.start()

    def _drain(self) -> None:
        while (event := self._next()) is not None:
            try:
                self._send(event)
            except REDIS_ERRORS as error:
                self._stopped.wait(self._pause_after(error))
            except RunRestarted as refusal:
                with self._changed:
                    self._refused(refusal)
                    self._changed.notify_all()
            else:
                with self._changed:
                    self._sent()
                    self._changed.notify_all()

    def _next(self) -> Outgoing | None:
        """The event to send; None ends the thread."""
        with self._changed:
            if self._waiting and not self._stopped.is_set():
                return self._waiting[0]
            self._thread = None
            return None


_buffers: weakref.WeakSet[SyncBuffer] = weakref.WeakSet()


def _empty_in_child() -> None:
    for buffer in list(_buffers):
        buffer._empty_in_child()


def _flush_at_exit() -> None:
    with ExitStack() as stack:
        for buffer in list(_buffers):
            stack.callback(buffer.flush)


atexit.register(_flush_at_exit)
if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_empty_in_child)
