"""A proxy before a gateway, with a habit that can be changed while it runs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

import aiohttp
from aiohttp import web

from tests.support import served

Habit = Literal["passes", "swallows", "refuses"]
"""What becomes of streams: passed on as they come; only when they are over; or refused for an hour,
as all that is asked but the package itself."""

_ITS_OWN = ("transfer-encoding", "content-length", "connection")


class Proxy:
    """Passes on what is asked of it, by its habit; `url` is where it listens."""

    def __init__(self, session: aiohttp.ClientSession, habit: Habit) -> None:
        self._session = session
        self.habit = habit
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if self.habit == "refuses" and "/sse/client/" not in request.path:
            allowed = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "*"}
            if request.method == "OPTIONS":
                return web.Response(
                    headers=allowed | {"Access-Control-Allow-Headers": "*, Authorization"}
                )
            return web.Response(status=503, headers=allowed | {"Retry-After": "3600"})
        headers = {name: value for name, value in request.headers.items() if name != "Host"}
        path = request.raw_path
        async with self._session.request(
            request.method, path, headers=headers, data=await request.read()
        ) as answer:
            kept = {
                name: value
                for name, value in answer.headers.items()
                if name.lower() not in _ITS_OWN
            }
            if self.habit == "swallows" or "event-stream" not in answer.content_type:
                return web.Response(status=answer.status, headers=kept, body=await answer.read())
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            return response

    def _refusal(self, method: str) -> web.Response:
        headers = {
            "Access-Control-Allow-Origin": "*",
            "Access-Control-Allow-Headers": "*, Authorization",
            "Access-Control-Expose-Headers": "*",
            "Retry-After": "3600",
        }
        return web.Response(status=200 if method == "OPTIONS" else 503, headers=headers)


@asynccontextmanager
async def proxy_before(gateway_url: str, habit: Habit) -> AsyncIterator[Proxy]:
    """A proxy that listens on loopback."""
    async with passing_on(gateway_url, habit) as proxy:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", proxy.handle)
        async with served(application) as proxy.url:
            yield proxy


@asynccontextmanager
async def passing_on(gateway_url: str, habit: Habit = "passes") -> AsyncIterator[Proxy]:
    """A proxy that is part of whatever routes to its `handle`."""
    async with aiohttp.ClientSession(gateway_url, auto_decompress=False) as session:
        yield Proxy(session, habit)
