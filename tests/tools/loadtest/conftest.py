"""A gateway of a few lines that does one thing wrong, to show that a load test finds it.

Everything else about it is right and real: it reads a real Redis and answers as the contract says.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count

import pytest
import pytest_asyncio
from aiohttp import web
from redis.asyncio import Redis

from gateway.embedded import EmbeddedRedis

FAULTY_EVENT = 3
FaultyGatewayFactory = Callable[..., AbstractAsyncContextManager[str]]


class FaultyGateway:
    """Serves streams from *redis_url*; the first of them suffers *fault*, all others are right."""

    def __init__(self, redis_url: str, fault: str = "") -> None:
        self._redis = Redis.from_url(redis_url)
        self._fault = fault
        self._opened = count()

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """One stream with a subscription of its own."""
        fault = self._fault if next(self._opened) == 0 else ""
        if fault == "refused":
            return web.json_response({"error": "no", "message": "Nobody may."}, status=403)
        if fault == "no stream":
            return web.Response(text="<html>", content_type="text/html")
        execution_id = request.match_info["execution_id"]
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        async with self._redis.pubsub() as pubsub:
            await pubsub.subscribe(f"execution:{execution_id}")
            await pubsub.get_message(timeout=5)  # the confirmation
            await response.prepare(request)
            if fault == "stranger":
                execution_id = "another"
            if fault != "mute":
                await response.write(
                    b'retry: 1000\nevent: connected\ndata: {"execution_id":"%b"}\n\n'
                    b'event: heartbeat\ndata: {"timestamp":"2026-01-01T00:00:00Z"}\n\n'
                    % execution_id.encode()
                )
            await self._relay(request, response, pubsub.listen(), fault)
        return response

    async def _relay(
        self,
        request: web.Request,
        response: web.StreamResponse,
        messages: AsyncIterator[dict[str, object]],
        fault: str,
    ) -> None:
        number, held = 0, b""
        async for message in messages:
            payload = message["data"]
            assert isinstance(payload, bytes)
            number += 1
            event = payload.split(b'"')[3]
            frame = b"id: 1795377945746-%d\nevent: %b\ndata: %b\n\n" % (number, event, payload)
            if number == FAULTY_EVENT and fault:
                if fault == "cut":
                    assert request.transport is not None
                    request.transport.abort()
                    return
                if fault == "closing":
                    await response.write(b'event: stream:closing\ndata: {"reason":"drain"}\n\n')
                    return
                if fault == "ended":
                    return
                if fault == "silent":
                    await asyncio.Event().wait()
                frame, held = {
                    "lost": (b"", b""),
                    "twice": (frame + frame, b""),
                    "late": (b"", frame),
                    "foreign": (frame + frame.replace(b"loadtest-", b"other-"), b""),
                }[fault]
            elif held:
                frame, held = frame + held, b""
            await response.write(frame)
            if event == b"execution:completed":
                return

    @asynccontextmanager
    async def serving(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
        """Listen on loopback; the value is the URL."""
        application = web.Application()
        application.router.add_get(
            "/under/api/v1/sse/executions/{execution_id}/stream", self.stream
        )
        runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        try:
            await site.start()
            port = runner.addresses[0][1]
            yield f"{'https' if tls else 'http'}://localhost:{port}/under/"
        finally:
            await runner.cleanup()
            await self._redis.aclose()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def redis_url() -> AsyncIterator[str]:
    """A private Redis for all load tests: each uses executions of its own."""
    redis = await EmbeddedRedis.start()
    yield redis.url
    await redis.stop()


@pytest.fixture
def faulty_gateway(redis_url: str) -> FaultyGatewayFactory:
    """`faulty_gateway(fault, tls)`: a context with the URL of such a gateway."""
    return lambda fault="", tls=None: FaultyGateway(redis_url, fault).serving(tls)
