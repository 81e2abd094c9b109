"""The publisher for asyncio, and its buffer. Both belong to the loop that uses them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Self, TypeVar

from gateway.contract.registration import Registration
from gateway.publisher.base import Buffer, Producer, Target
from gateway.publisher.composer import Outgoing
from gateway.publisher.http_target import HttpTarget
from gateway.publisher.over_http import AsyncHttp
from gateway.publisher.over_redis import AsyncRedis
from gateway.publisher.retry import AttemptFailed, EventRefused, RetryDeadline, RunRestarted

log = logging.getLogger(__name__)

T = TypeVar("T")


class Publisher(Producer[Coroutine[Any, Any, str], Coroutine[Any, Any, None]]):
    """Publishes events from asyncio; awaiting a method gives the event's id."""

    buffered: "AsyncBuffer"
    """The same methods for code that must not wait: they only add the event to a buffer."""

    def _connect(self, target: Target, timeout: float) -> None:
        self._transport: AsyncHttp | AsyncRedis
        if isinstance(target, HttpTarget):
            self._transport = AsyncHttp(target, timeout)
        else:
            self._transport = AsyncRedis(target, timeout)
        self.buffered = AsyncBuffer(self, self._send)

    async def _register(self, registration: Registration) -> None:
        await self._retry(lambda: self._transport.register(registration))

    async def _close(self, timeout: float | None) -> None:
        try:
            await self.buffered.close(timeout)
        finally:
            await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def _deliver(self, event: Outgoing) -> str:
        [event_id] = await self._retry(lambda: self._send([event]), event.idempotency_key)
        return event_id

    async def _send(self, events: Sequence[Outgoing]) -> list[str]:
        ids = await self._transport.publish(events, self._runs.began(events[0]))
        self._runs.published(events, ids)
        return ids

    async def _retry(
        self, attempt: Callable[[], Awaitable[T]], idempotency_key: str | None = None
    ) -> T:
        deadline = RetryDeadline(self._deadline, idempotency_key)
        while True:
            try:
                return await attempt()
            except AttemptFailed as failure:
                pause = deadline.pause_after(failure)
            await asyncio.sleep(pause)


class AsyncBuffer(Buffer[Coroutine[Any, Any, None]]):
    """Sends in a task that runs while events wait. Its methods return None at once."""

    def _reset(self) -> None:
        self._task: asyncio.Task[None] | None = None

    async def flush(self, timeout: float | None = None) -> None:
        """See `Publisher.flush`."""
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=self._deadline if timeout is None else timeout)
        if self._waiting:
            raise self._unsent()

    async def close(self, timeout: float | None = None) -> None:
        """Flush and stop; no more events are accepted."""
        self._closed = True
        try:
            await self.flush(timeout)
        finally:
            if self._task is not None:
                self._task.cancel()
                await asyncio.wait({self._task})
            self._empty()

    def _deliver(self, event: Outgoing) -> None:
        self._add(event)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain())

    async def _drain(self) -> None:
        try:
            while self._waiting:
                try:
                    await self._send(self._batch())
                except AttemptFailed as failure:
                    await asyncio.sleep(self._pause_after(failure))
                except (RunRestarted, EventRefused) as refusal:
                    self._refused(refusal)
                else:
                    self._sent()
        finally:
            # `close` raises to its caller; when the loop just ends, only the log can tell.
            if self._waiting and not self._closed:
                log.error("%d events are not sent: close a publisher before its loop.", len(self))
