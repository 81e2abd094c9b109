"""The page of `sse-gateway dev`: its files, a token for it, and the list of executions.

Only for development: it hands a token to whoever asks. The events themselves come to the page
through the gateway's own stream, like to anybody else.
"""

from collections.abc import Callable
from importlib.resources import files

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.dev.engine import ORGANIZATION, SimulatedEngine
from gateway.http.errors import json_response

TOKEN_SECONDS = 12 * 3600

_CONTENT_TYPES = {
    "index.html": "text/html",
    "page.css": "text/css",
    "page.js": "text/javascript",
}
_POLICY = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'"


def add_page(
    application: web.Application, engine: SimulatedEngine | None, issue_token: Callable[[], str]
) -> None:
    """Serve the page at `/`; without an *engine* it lists no executions."""

    async def session(_: web.Request) -> web.Response:
        return json_response(
            {
                "token": issue_token(),
                "organization_id": ORGANIZATION,
                "expires_in": TOKEN_SECONDS,
            }
        )

    async def executions(_: web.Request) -> web.Response:
        return json_response(engine.executions() if engine is not None else [])

    application.router.add_get("/dev/session", session)
    application.router.add_get("/dev/executions", executions)
    for name, content_type in _CONTENT_TYPES.items():
        path = "/" if name == "index.html" else f"/dev/{name}"
        application.router.add_get(path, _file(name, content_type))


def _file(name: str, content_type: str) -> Handler:
    body = files("gateway.dev").joinpath("page", name).read_bytes()

    async def handle(_: web.Request) -> web.Response:
        return web.Response(
            body=body,
            content_type=content_type,
            charset="utf-8",
            headers={"Cache-Control": "no-cache", "Content-Security-Policy": _POLICY},
        )

    return handle
