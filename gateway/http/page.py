"""The page that shows executions live, at `/`: its files, with headers that let nothing else run.

Whoever opens it needs a token like any reader; `sse-gateway dev` gives it one. What it draws is
written in `gateway/page`.
"""

from importlib.resources import files

from aiohttp import web
from aiohttp.typedefs import Handler

_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}

_HEADERS = {
    # A new version of the gateway shows its own page, not the last one's.
    "Cache-Control": "no-cache",
    # Whatever an event holds, nothing but these files runs, and nothing leaves this origin.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def add_page(application: web.Application) -> None:
    """Serve the page."""
    page = files("gateway").joinpath("page")
    for file in page.iterdir():
        _, dot, suffix = file.name.rpartition(".")
        content_type = _TYPES.get(dot + suffix)
        if content_type is not None:
            path = "/" if file.name == "index.html" else f"/page/{file.name}"
            application.router.add_get(path, _file(file.read_bytes(), content_type))


def _file(body: bytes, content_type: str) -> Handler:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type=content_type, charset="utf-8", headers=_HEADERS)

    return handle
