"""The publisher for asyncio, and its buffer. Both belong to the loop that uses them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Self, TypeVar

from gateway.bus import scripts
from gateway.bus.connection import create_redis, server_of
from gateway.bus.errors import REDIS_ERRORS
from gateway.contract.registration import Registration
from gateway.contract.scripts import Call
from gateway.publisher.base import Buffer, Producer
from gateway.publisher.composer import Outgoing
from gateway.publisher.retry import RetryDeadline, RunRestarted, attempt_seconds

log = logging.getLogger(__name__)

CONNECTIONS = 8
"""Most connections to Redis of one publisher; one round trip an event needs no more."""

T = TypeVar("T")


class Publisher(Producer[Coroutine[Any, Any, str], Coroutine[Any, Any, None]]):
    """Publishes events from asyncio; awaiting a method gives the event's id."""

    buffered: "AsyncBuffer"
    """The same methods for code that must not wait: they only add the event to a buffer."""

    def _connect(self, redis_url: str, buffer_events: int) -> None:
        self._redis = create_redis(redis_url, max_connections=CONNECTIONS)
        self._server = server_of(self._redis)
        self.buffered = AsyncBuffer(self._composer, buffer_events, self._deadline, self._send)

    async def _register(self, registration: Registration) -> None:
        call = registration.call(self._composer.limits)
        registration.check(await self._retry(lambda: self._call(call)))

    async def _close(self, timeout: float | None) -> None:
        try:
            await self.buffered.close(timeout)
        finally:
            await self._redis.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def _deliver(self, event: Outgoing) -> str:
        return await self._retry(lambda: self._run(event), event.idempotency_key)

    async def _send(self, event: Outgoing) -> None:
        await self._attempt(lambda: self._run(event))

    async def _run(self, event: Outgoing) -> str:
        with self._runs.refusals(event):
            answer = await self._call(self._runs.call(event))
        return self._runs.published(event, answer)

    async def _call(self, call: Call) -> Any:
        if not self._min_replicas:
            return await scripts.run(self._redis, call)
        script, keys, arguments = call
        # In one pipeline, so on one connection: WAIT is about what that one has written.
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.eval(script.text, len(keys), *keys, *arguments)
            pipeline.execute_command("WAIT", self._min_replicas, self._wait_ms)
            return self._replicated(*await pipeline.execute())

    async def _retry(
        self, call: Callable[[], Awaitable[T]], idempotency_key: str | None = None
    ) -> T:
        deadline = RetryDeadline(self._deadline, idempotency_key)
        while True:
            try:
                return await self._attempt(call)
            except REDIS_ERRORS as error:
                pause = deadline.pause_after(error)
            await asyncio.sleep(pause)

    async def _attempt(self, call: Callable[[], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(attempt_seconds(self._deadline)):
                await self._server.make_sure()
                return await call()
        except REDIS_ERRORS:
            self._server.failed()
            raise


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
            self._waiting.clear()

    def _deliver(self, event: Outgoing) -> None:
        self._add(event)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain())

    async def _drain(self) -> None:
        try:
            while self._waiting:
                try:
                    await self._send(self._waiting[0])
                except REDIS_ERRORS as error:
                    await asyncio.sleep(self._pause_after(error))
                    continue
                except RunRestarted as refusal:
                    self._left_out(refusal)
                self._sent()
        finally:
            # `close` raises to its caller; when the loop just ends, only the log can tell.
            if self._waiting and not self._closed:
                log.error("%d events are not sent: close a publisher before its loop.", len(self))
