"""CORS, and the small handlers: health and tickets."""

from dataclasses import dataclass

import aiohttp_cors
from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.access.policy import Policy
from gateway.access.quota import Quota
from gateway.access.tickets import Tickets
from gateway.bus.health import Health
from gateway.errors import MalformedRequest
from gateway.http.access_log import REQUEST_ID_HEADER, request_id
from gateway.http.credentials import read_credentials
from gateway.http.request_limits import end_with_body
from gateway.http.responses import add_common_headers, json_response


def health_handler(health: Health) -> Handler:
    """200 while the gateway delivers all events, else 503 with the reasons."""

    async def handle(_: web.Request) -> web.Response:
        status = health.status()
        document: dict[str, object] = {
            "status": "healthy" if status.healthy else "unhealthy",
            "redis": "connected" if status.redis_connected else "disconnected",
        }
        if status.healthy:
            return json_response(document)
        document["reason"] = " ".join(status.reasons)
        return json_response(document, 503, {"Retry-After": "3"})

    return handle


@dataclass(frozen=True, slots=True)
class TicketHandler:
    """Issues tickets to clients that may watch."""

    policy: Policy
    quota: Quota
    tickets: Tickets

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One ticket; the body is ignored."""
        if any(name in request.query for name in ("Authorization", "organization_id", "ticket")):
            raise MalformedRequest(
                "Credentials in the query are not accepted here: send them in the headers "
                "Authorization and X-Organization-ID.",
                "credentials_in_query",
            )
        principal = await self.policy.identify(
            request.match_info["execution_id"], read_credentials(request)
        )
        self.quota.ticket(principal)
        await self.policy.admit(principal)
        ticket = await self.tickets.issue(principal)
        return json_response({"ticket": ticket.text, "expires_in": ticket.expires_in})


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


def add_cors(application: web.Application, origins: tuple[str, ...], credentials: bool) -> None:
    """Allow pages of *origins* to use every route added so far; `*` means every origin.

    *credentials*: pages of listed origins may send cookies. Those of `*` never may: else any page
    could read with the rights of its visitor.
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
