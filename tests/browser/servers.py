"""An application's pages, on an origin of their own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web


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
