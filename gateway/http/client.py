"""`GET /api/v1/sse/client/…`: the JavaScript package, for pages to import it from their gateway.

A page must never mix modules of two versions. So each module asks for the others by a name that
holds the version of all of them, and these are kept for ever; the first one is asked for anew each
time, which mostly ends in a 304. What the package does is written in `gateway/client/README.md`.
"""

import hashlib
import re
from importlib.resources import files

from aiohttp import web
from aiohttp.typedefs import Handler

_TYPES = {".js": "text/javascript", ".ts": "text/plain"}
_IMPORT = re.compile(rb'(from\s+"\./[\w-]+\.js)(")')
_FOR_EVER = "public, max-age=31536000, immutable"
_ASKED_ANEW = "public, no-cache"


def client_handler() -> Handler:
    """Serves the modules of the package and their type declarations."""
    sources = {
        file.name: file.read_bytes()
        for file in files("gateway").joinpath("client").iterdir()
        if file.name.endswith(tuple(_TYPES))
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
        keep = _FOR_EVER if request.query.get("v") == version else _ASKED_ANEW
        headers = {"ETag": tag, "Cache-Control": keep}
        if version in {known.value for known in request.if_none_match or ()}:
            return web.Response(status=304, headers=headers)
        content_type = _TYPES[name[name.rindex(".") :]]
        return web.Response(
            body=modules[name], content_type=content_type, charset="utf-8", headers=headers
        )

    return handle
