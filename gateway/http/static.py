"""Static files: the browser client, and the page at `/` that shows executions live.

The page needs a token like any client; `sse-gateway dev` gives it one.
"""

import hashlib
import re
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

_PACKAGE = Path(__file__).parents[1]
_CLIENT_TYPES = {".js": "text/javascript", ".ts": "text/plain"}
_PAGE_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_IMPORT = re.compile(rb'(from\s+"\./[\w-]+\.js)(")')
_IMMUTABLE = "public, max-age=31536000, immutable"
_REVALIDATED = "public, no-cache"


def client_handler() -> Handler:
    """Serves the modules of the browser client and their type declarations."""
    sources = {
        file.name: file.read_bytes()
        for file in (_PACKAGE / "client").iterdir()
        if file.suffix in _CLIENT_TYPES
    }
    joined = b"".join(sources[name] for name in sorted(sources))
    version = hashlib.sha256(joined).hexdigest()[:16]
    modules = {
        name: _IMPORT.sub(rb"\1?v=" + version.encode() + rb"\2", source)
        for name, source in sources.items()
    }
    tag = f'"{version}"'

    async def handle(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in modules:
            raise web.HTTPNotFound
        caching = _IMMUTABLE if request.query.get("v") == version else _REVALIDATED
        headers = {"ETag": tag, "Cache-Control": caching}
        if version in {known.value for known in request.if_none_match or ()}:
            return web.Response(status=304, headers=headers)
        content_type = _CLIENT_TYPES[Path(name).suffix]
        return web.Response(
            body=modules[name], content_type=content_type, charset="utf-8", headers=headers
        )

    return handle


_HEADERS = {
    # After an upgrade the page is the new one.
    "Cache-Control": "no-cache",
    # Whatever is in an event: only these files run, and they connect only to this origin.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def add_page(application: web.Application) -> None:
    """Serve the page."""
    for file in (_PACKAGE / "page").iterdir():
        if content_type := _PAGE_TYPES.get(file.suffix):
            path = "/" if file.name == "index.html" else f"/page/{file.name}"
            application.router.add_get(path, _file(file.read_bytes(), content_type))


def _file(body: bytes, content_type: str) -> Handler:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type=content_type, charset="utf-8", headers=_HEADERS)

    return handle
