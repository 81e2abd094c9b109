"""The table of paths, and CORS for all of them."""

import aiohttp_cors
from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.http.headers import add_common_headers
from gateway.http.request_id import REQUEST_ID_HEADER, request_id
from gateway.http.request_limits import end_with_body

STREAM_PATH = "/api/v1/sse/executions/{execution_id}/stream"
TICKET_PATH = "/api/v1/sse/executions/{execution_id}/ticket"
RUNS_PATH = "/api/v1/workflows/{workflow_id}/runs/{execution_id}"
HEALTH_PATH = "/api/v1/sse/health"
CLIENT_PATH = "/api/v1/sse/client/{name}"

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
    application: web.Application,
    *,
    stream: Handler,
    ticket: Handler,
    runs: Handler,
    health: Handler,
    client: Handler,
) -> None:
    """Everything that the contract names."""
    # HEAD would run the stream handler, whose body then corrupts the connection's next response.
    application.router.add_get(STREAM_PATH, stream, allow_head=False)
    application.router.add_post(TICKET_PATH, ticket)
    application.router.add_get(RUNS_PATH, runs)
    application.router.add_get(HEALTH_PATH, health)
    application.router.add_get(CLIENT_PATH, client)


def add_cors(application: web.Application, origins: tuple[str, ...], credentials: bool) -> None:
    """Let pages of *origins* use every route added so far, by the methods that it has.

    `*` stands for every origin. *credentials*: pages of listed origins may send cookies along;
    never those of `*`, since any page could then read as its visitor.
    """
    options = {
        origin: aiohttp_cors.ResourceOptions(
            allow_credentials=credentials and origin != "*",
            allow_headers=_ALLOWED_HEADERS,
            expose_headers=_EXPOSED_HEADERS,
            max_age=_PREFLIGHT_SECONDS,
        )
        for origin in origins
    }
    if options:
        cors = aiohttp_cors.setup(application)
        for route in list(application.router.routes()):
            cors.add(route, options)
    application.on_response_prepare.append(_finish_headers)


async def _finish_headers(request: web.Request, response: web.StreamResponse) -> None:
    add_common_headers(response)
    response.headers[REQUEST_ID_HEADER] = request_id(request)
    end_with_body(request, response)
