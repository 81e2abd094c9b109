"""The page of `sse-gateway dev`: its files, a token for it, and the list of executions.

Only for development: it hands a token to whoever asks on this origin. The events themselves come
to the page through the gateway's own stream, like to anybody else.
"""

from collections.abc import Callable
from importlib.resources import files

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.dev.engine import ORGANIZATION, SimulatedEngine
from gateway.http.errors import json_response

TOKEN_SECONDS = 3600
"""How long a token of the page is valid; the page asks for the next one in time."""

_FILES = {
    "/": ("index.html", "text/html"),
    "/dev/page.css": ("page.css", "text/css"),
    "/dev/page.js": ("page.js", "text/javascript"),
    "/dev/card.js": ("card.js", "text/javascript"),
    "/dev/stream.js": ("stream.js", "text/javascript"),
}

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


def add_page(
    application: web.Application, engine: SimulatedEngine | None, issue_token: Callable[[int], str]
) -> None:
    """Serve the page at `/`; without an *engine* it lists no executions.

    *issue_token* gives a token of the organization `dev-org` that is valid for so many seconds.
    """

    async def session(_: web.Request) -> web.Response:
        return json_response(
            {
                "token": issue_token(TOKEN_SECONDS),
                "organization_id": ORGANIZATION,
                "expires_in": TOKEN_SECONDS,
            }
        )

    async def executions(_: web.Request) -> web.Response:
        return json_response(engine.executions() if engine is not None else [])

    application.router.add_get("/dev/session", session)
    application.router.add_get("/dev/executions", executions)
    for path, (name, content_type) in _FILES.items():
        application.router.add_get(path, _file(name, content_type))


def _file(name: str, content_type: str) -> Handler:
    body = files("gateway.dev").joinpath("page", name).read_bytes()

    async def handle(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type=content_type, charset="utf-8", headers=_HEADERS)

    return handle
