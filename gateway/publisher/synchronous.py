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
from typing import Any, Self, TypeVar

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
from gateway.publisher.composer import Outgoing
from gateway.publisher.retry import RetryDeadline, RunRestarted, attempt_seconds
from gateway.settings.redis_url import is_sentinel_url, is_tls_url, parse_sentinel_url

T = TypeVar("T")


def _pool(url: str, timeout: float) -> ConnectionPool:
    """The connections to *url*; each is opened when a command needs it.

    *timeout*: seconds for a connect and for an answer.
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
        return ConnectionPool.from_url(url, **options)
    given = parse_sentinel_url(url)
    asking = {**options, **given.sentinel_options, "ssl": given.tls}
    # All of them within an attempt.
    asking["socket_timeout"] = asking["socket_connect_timeout"] = timeout / len(given.sentinels)
    sentinels = Sentinel(given.sentinels, sentinel_kwargs=asking)
    return SentinelConnectionPool(
        given.master, sentinels, ssl=given.tls, **{**options, **given.options}
    )


def _greet(connection: Connection) -> None:
    """Read one answer on each new TLS connection.

    TLS 1.3 sends session tickets after the handshake. redis-py takes waiting bytes for the rest of
    an earlier answer and drops such a connection. Reading an answer reads the tickets too.
    """
    connection.on_connect()
    connection.send_command("PING", check_health=False)
    connection.read_response()


class SyncPublisher(Producer[str, None]):
    """Publishes events from threads; a method returns the event's id."""

    buffered: "SyncBuffer"
    """The same methods for code that must not wait: they only add the event to a buffer.

    A program that ends without `close` still flushes it, unless it is killed or ends with
    `os._exit`, as children of a Celery pool do.
    """

    def _connect(self, redis_url: str, buffer_events: int) -> None:
        self._pool = _pool(redis_url, attempt_seconds(self._deadline))
        self._redis = Redis.from_pool(self._pool)
        self._answered_at = -math.inf
        self.buffered = SyncBuffer(self._composer, buffer_events, self._deadline, self._send)

    def _register(self, registration: Registration) -> None:
        call = registration.call(self._composer.limits)
        registration.check(self._retry(lambda: self._run(call)))

    def _close(self, timeout: float | None) -> None:
        try:
            self.buffered.close(timeout)
        finally:
            self._redis.close()
            if isinstance(self._pool, SentinelConnectionPool):
                self._pool.sentinel_manager.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _deliver(self, event: Outgoing) -> str:
        return self._retry(lambda: self._send(event), event.idempotency_key)

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
                self._pool.disconnect(inuse_connections=False)
            raise

    def _make_sure(self) -> None:
        """As `gateway.bus.sentinel.Master.make_sure`. No thread and no lock: others may ask too."""
        now = time.monotonic()
        if not isinstance(self._pool, SentinelConnectionPool) or now - self._answered_at < MOST_AGE:
            return
        self._answered_at = now
        # Sentinels that do not answer stop no write: the connections may work without them.
        with suppress(*REDIS_ERRORS):
            self._pool.get_master_address()

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

    def _retry(self, call: Callable[[], T], idempotency_key: str | None = None) -> T:
        deadline = RetryDeadline(self._deadline, idempotency_key)
        while True:
            try:
                return call()
            except REDIS_ERRORS as error:
                pause = deadline.pause_after(error)
            time.sleep(pause)


class SyncBuffer(Buffer[None]):
    """Sends in a thread that runs while events wait. Its methods return None at once."""

    def _reset(self) -> None:
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._changed = threading.Condition()
        """Guards the events and the thread; notified when an event has been sent."""
        _buffers.add(self)

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
                continue
            except RunRestarted as refusal:
                self._left_out(refusal)
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
        buffer._waiting.clear()
        # New locks: the parent's threads may have held the old ones at the fork.
        buffer._reset()


def _flush_at_exit() -> None:
    with ExitStack() as stack:
        for buffer in list(_buffers):
            stack.callback(buffer.flush)


atexit.register(_flush_at_exit)
if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_empty_in_child)
