"""The publisher for Flask, Celery and plain threads, and its buffer.

Any number of threads may share one. After a fork the child opens its own connections, and its
buffer is empty: the parent sends what waited there.
"""

import atexit
import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Self, TypeVar

from gateway.contract.registration import Registration
from gateway.publisher.base import Buffer, Producer, Target
from gateway.publisher.composer import Outgoing
from gateway.publisher.http_target import HttpTarget
from gateway.publisher.over_http import SyncHttp
from gateway.publisher.over_redis_sync import SyncTransport, sync_transport
from gateway.publisher.retry import AttemptFailed, EventRefused, RetryDeadline, RunRestarted

T = TypeVar("T")


class SyncPublisher(Producer[str, None]):
    """Publishes events from threads; a method returns the event's id."""

    buffered: "SyncBuffer"
    """The same methods for code that must not wait: they only add the event to a buffer.

    A program that ends without `close` still flushes it, unless it is killed or ends with
    `os._exit`, as children of a Celery pool do.
    """

    def _connect(self, target: Target, timeout: float) -> None:
        self._transport: SyncHttp | SyncTransport
        if isinstance(target, HttpTarget):
            self._transport = SyncHttp(target, timeout)
        else:
            self._transport = sync_transport(target, timeout)
        self.buffered = SyncBuffer(self, self._send)

    def _register(self, registration: Registration) -> None:
        self._retry(lambda: self._transport.register(registration))

    def _close(self, timeout: float | None) -> None:
        try:
            self.buffered.close(timeout)
        finally:
            self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _deliver(self, event: Outgoing) -> str:
        [event_id] = self._retry(lambda: self._send([event]), event.idempotency_key)
        return event_id

    def _send(self, events: Sequence[Outgoing]) -> list[str]:
        ids = self._transport.publish(events, self._runs.began(events[0]))
        self._runs.published(events, ids)
        return ids

    def _retry(self, attempt: Callable[[], T], idempotency_key: str | None = None) -> T:
        deadline = RetryDeadline(self._deadline, idempotency_key)
        while True:
            try:
                return attempt()
            except AttemptFailed as failure:
                pause = deadline.pause_after(failure)
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
            self._empty()

    def _deliver(self, event: Outgoing) -> None:
        with self._changed:
            self._add(event)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._drain, name="publisher-buffer", daemon=True
                )
                self._thread.start()

    def _drain(self) -> None:
        while events := self._next():
            try:
                self._send(events)
            except AttemptFailed as failure:
                self._stopped.wait(self._pause_after(failure))
                continue
            except (RunRestarted, EventRefused) as refusal:
                with self._changed:
                    self._refused(refusal)
                    self._changed.notify_all()
                continue
            with self._changed:
                self._sent()
                self._changed.notify_all()

    def _next(self) -> Sequence[Outgoing]:
        """The events to send; none ends the thread."""
        with self._changed:
            if self._waiting and not self._stopped.is_set():
                return self._batch()
            self._thread = None
            return ()


_buffers: weakref.WeakSet[SyncBuffer] = weakref.WeakSet()


def _empty_in_child() -> None:
    for buffer in list(_buffers):
        buffer._empty()
        # New locks: the parent's threads may have held the old ones at the fork.
        buffer._reset()


def _flush_at_exit() -> None:
    with ExitStack() as stack:
        for buffer in list(_buffers):
            stack.callback(buffer.flush)


atexit.register(_flush_at_exit)
if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_empty_in_child)
