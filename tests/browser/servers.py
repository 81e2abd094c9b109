"""What stands beside a gateway: an application's pages, and a proxy, which may spoil streams."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from tests.conftest import RunningGateway


@asynccontextmanager
async def served(application: web.Application) -> AsyncIterator[str]:
    """Serves *application*; the address is an origin of its own."""
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    [(host, port)] = runner.addresses
    yield f"http://{host}:{port}"
    await runner.cleanup()


def pages(directory: Path) -> web.Application:
    """An application's files, its `index.html` first."""

    async def index(_: web.Request) -> web.FileResponse:
        return web.FileResponse(directory / "index.html")

    application = web.Application()
    application.router.add_get("/", index)
    application.router.add_static("/static", directory)
    return application


def passing_on(
    gateway: RunningGateway, swallows: Callable[[], bool] = lambda: False
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """A proxy before *gateway*; while it *swallows*, it passes a stream on when that is over."""

    async def handle(request: web.Request) -> web.StreamResponse:
        url = gateway.url + request.raw_path
        headers = {name: value for name, value in request.headers.items() if name != "Host"}
        async with gateway.session.request(request.method, url, headers=headers) as answer:
            kept = {
                name: value
                for name, value in answer.headers.items()
                if name.lower() not in ("transfer-encoding", "content-length", "connection")
            }
            if swallows() or "event-stream" not in answer.content_type:
                body = await answer.read()
                return web.Response(status=answer.status, headers=kept, body=body)
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            return response

    return handle
