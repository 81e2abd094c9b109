"""An application's pages, for `tests.support.served`."""

from pathlib import Path

from aiohttp import web


def pages(directory: Path) -> web.Application:
    """An application's files, its `index.html` first."""

    async def index(_: web.Request) -> web.FileResponse:
        return web.FileResponse(directory / "index.html")

    application = web.Application()
    application.router.add_get("/", index)
    application.router.add_static("/static", directory)
    return application
