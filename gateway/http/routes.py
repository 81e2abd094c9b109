"""The small handlers: health and tickets."""

from dataclasses import dataclass

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.access.policy import Policy
from gateway.access.quota import Quota
from gateway.access.tickets import Scope, Ticket, Tickets
from gateway.bus.health import Health
from gateway.errors import MalformedRequest
from gateway.http.credentials import read_credentials
from gateway.http.request_limits import BODY
from gateway.http.responses import json_response
from gateway.http.set_request import admit_all, execution_ids_in, streams_of


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
        """One ticket for one execution; the body is ignored."""
        _refuse_query(request)
        principal = await self.policy.identify(
            request.match_info["execution_id"], read_credentials(request)
        )
        self.quota.ticket(principal)
        await self.policy.admit(principal)
        return _answer(await self.tickets.issue(principal))

    async def handle_set(self, request: web.Request) -> web.StreamResponse:
        """One ticket for the executions that the body names."""
        _refuse_query(request)
        asked = await self.policy.identify_set(
            execution_ids_in(request.get(BODY, b"")), read_credentials(request)
        )
        self.quota.ticket(asked.whole, streams_of(asked))
        admitted = {one.execution_id for one in await admit_all(self.policy, asked)}
        seen = tuple(one for one in asked.execution_ids if one in admitted)
        absent = tuple(one for one in asked.execution_ids if one not in admitted)
        return _answer(await self.tickets.issue(asked.whole, Scope("set", seen, absent)))

    async def handle_list(self, request: web.Request) -> web.StreamResponse:
        """One ticket for the list of an organization; the body is ignored."""
        _refuse_query(request)
        principal = await self.policy.identify_list(
            request.match_info["organization_id"], read_credentials(request)
        )
        self.quota.ticket(principal)
        await self.policy.admit_organization(principal)
        return _answer(await self.tickets.issue(principal, Scope("list")))


def _refuse_query(request: web.Request) -> None:
    if any(name in request.query for name in ("Authorization", "organization_id", "ticket")):
        raise MalformedRequest(
            "Credentials in the query are not accepted here: send them in the headers "
            "Authorization and X-Organization-ID.",
            "credentials_in_query",
        )


def _answer(ticket: Ticket) -> web.Response:
    return json_response({"ticket": ticket.text, "expires_in": ticket.expires_in})
