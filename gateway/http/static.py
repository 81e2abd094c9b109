"""Static files: the browser client, and the page at `/`.

If the page is switched on, it shows executions live; it needs a token like any client, and
`sse-gateway dev` gives it one. Otherwise the page at `/` says what this address is.
"""

import gzip
import hashlib
from functools import cached_property
from html import escape
from pathlib import Path
from string import Template

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.bus.health import Health
from gateway.client import archive

_PACKAGE = Path(__file__).parents[1]
_CLIENT = _PACKAGE / "client"
_CLIENT_TYPES = {".js": "text/javascript", ".ts": "text/plain", ".md": "text/plain"}
_ARCHIVE = "package.tgz"
_PAGE_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_VARY = "Origin, Accept-Encoding"
_ALWAYS = ("page.css", "icon.svg", "front.js")
"""Files of the page that `front.html` needs too."""


class _File:
    """A file as it is, and compressed when it is first asked for like that."""

    def __init__(self, body: bytes, content_type: str) -> None:
        self.version = hashlib.sha256(body).hexdigest()[:16]
        self._plain = body
        self._content_type = content_type

    @cached_property
    def _compressed(self) -> bytes:
        return gzip.compress(self._plain, mtime=0)

    def response(self, request: web.Request, headers: dict[str, str]) -> web.Response:
        """The answer with *headers*, compressed if the browser takes that."""
        if self._content_type == "application/gzip":
            return web.Response(body=self._plain, content_type=self._content_type, headers=headers)
        body = self._plain
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            body, headers = self._compressed, {**headers, "Content-Encoding": "gzip"}
        return web.Response(
            body=body, content_type=self._content_type, charset="utf-8", headers=headers
        )


def client_handler() -> Handler:
    """Serves the browser client: each module in one file, its types, its guide, and the archive for
    npm."""
    paths = [
        path
        for place in (_CLIENT / "bundled", _CLIENT)
        for path in place.iterdir()
        if path.suffix in _CLIENT_TYPES and (path.suffix != ".js" or place.name == "bundled")
    ]
    files = {path.name: _File(path.read_bytes(), _CLIENT_TYPES[path.suffix]) for path in paths}

    async def handle(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name == _ARCHIVE and name not in files:
            # Not before it is asked for: packing it is a twentieth of a start.
            files[name] = _File(archive()[1], "application/gzip")
        if name not in files:
            raise web.HTTPNotFound
        # After an upgrade it is the new one.
        version = files[name].version
        # Weak: it is the same for the compressed file.
        headers = {
            "ETag": f'W/"{version}"',
            "Cache-Control": "public, no-cache",
            "Vary": _VARY,
        }
        if version in {known.value for known in request.if_none_match or ()}:
            return web.Response(status=304, headers=headers)
        return files[name].response(request, headers)

    return handle


_HEADERS = {
    # After an upgrade the page is the new one.
    "Cache-Control": "no-cache",
    "Vary": _VARY,
    # Whatever is in an event: only these files run, and they connect only to this origin.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def add_page(application: web.Application, health: Health, *, is_on: bool) -> None:
    """Serve the page; unless it *is_on*, one that says so, with the *health*."""
    add = application.router.add_get
    # Its script in one file, and not the modules that it is made of; of the rest the smaller form.
    files = {
        file.name: file
        for place in (_PACKAGE / "page", _PACKAGE / "page" / "bundled")
        for file in place.iterdir()
        if file.suffix != ".js" or place.name == "bundled"
    }
    front = Template(files.pop("front.html").read_text(encoding="utf-8"))
    for name, file in files.items():
        content_type = _PAGE_TYPES.get(file.suffix)
        if content_type and (is_on or name in _ALWAYS):
            path = "/" if name == "index.html" else f"/page/{name}"
            add(path, _page_file(_File(file.read_bytes(), content_type)))
    if is_on:
        contract = (_PACKAGE / "CONTRACT.md").read_bytes()
        add("/page/CONTRACT.md", _page_file(_File(contract, "text/plain")))
    else:
        add("/", _front(front, health))


def _page_file(file: _File) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        return file.response(request, _HEADERS)

    return handle


def _front(front: Template, health: Health) -> Handler:
    async def handle(_: web.Request) -> web.Response:
        status = health.status()
        page = front.substitute(
            status="healthy" if status.healthy else "unhealthy",
            state="completed" if status.healthy else "failed",
            reasons=escape(" ".join(status.reasons)),
        )
        return web.Response(text=page, content_type="text/html", headers=_HEADERS)

    return handle
