"""The table of paths, and CORS for all of them."""

import aiohttp_cors
from aiohttp import web
from aiohttp.typedefs import Handler

STREAM_PATH = "/api/v1/sse/executions/{execution_id}/stream"
RUNS_PATH = "/api/v1/workflows/{workflow_id}/runs/{execution_id}"
HEALTH_PATH = "/api/v1/sse/health"

_ALLOWED_HEADERS = (
    "Authorization",
    "X-Organization-ID",
    "Last-Event-ID",
    "If-None-Match",
    "Cache-Control",
    "Content-Type",
)
_EXPOSED_HEADERS = ("ETag", "Retry-After")
_PREFLIGHT_SECONDS = 600


def add_routes(
    application: web.Application, stream: Handler, runs: Handler, health: Handler
) -> None:
    """Everything that the contract names."""
    # HEAD would run the stream handler, whose body then corrupts the connection's next response.
    application.router.add_get(STREAM_PATH, stream, allow_head=False)
    application.router.add_get(RUNS_PATH, runs)
    application.router.add_get(HEALTH_PATH, health)


def add_cors(application: web.Application, origins: tuple[str, ...]) -> None:
    """Let pages of *origins* read every route added so far; `*` is without credentials."""
    options = {
        origin: aiohttp_cors.ResourceOptions(
            allow_credentials=origin != "*",
            allow_headers=_ALLOWED_HEADERS,
            expose_headers=_EXPOSED_HEADERS,
            allow_methods=["GET"],
            max_age=_PREFLIGHT_SECONDS,
        )
        for origin in origins
    }
    if options:
        cors = aiohttp_cors.setup(application, defaults=options)
        for route in list(application.router.routes()):
            if route.method == "GET":
                cors.add(route)
    application.on_response_prepare.append(_common_headers)


async def _common_headers(_: web.Request, response: web.StreamResponse) -> None:
    # aiohttp-cors does not add it, and a shared cache would hand one origin's answer to another.
    response.headers["Vary"] = "Origin"
    # The default tells strangers the versions of Python and aiohttp.
    response.headers["Server"] = "sse-gateway"
