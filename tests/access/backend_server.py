"""A customer's backend over HTTP, as ownership `backend` asks one."""

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import web


class Backend:
    """Answers by `status`, and remembers what it was asked."""

    def __init__(self) -> None:
        self.status = 204
        self.asked: list[web.Request] = []
        self.delay = 0.0
        self.url = ""
        self.stuck: Callable[[web.Request], bool] = lambda _: False
        """Requests that get no answer before `released` is set."""
        self.released = asyncio.Event()
        self.refuses: Callable[[web.Request], bool] = lambda _: False
        """Requests that get a no, whatever `status` is."""

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append(request)
        if self.stuck(request):
            await self.released.wait()
        await asyncio.sleep(self.delay)
        if self.refuses(request):
            return web.Response(status=403)
        headers = {"Location": "/yes"} if self.status == 302 else {}
        return web.Response(status=204 if request.path == "/yes" else self.status, headers=headers)


async def start_backend(aiohttp_server: Any) -> Backend:
    """One that says yes to all."""
    backend = Backend()
    application = web.Application()
    application.router.add_get("/{any:.*}", backend.handle)
    server = await aiohttp_server(application)
    backend.url = str(server.make_url("/")) + "{organization_id}/{execution_id}?x=1"
    return backend
