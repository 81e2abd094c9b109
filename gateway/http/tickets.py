"""`POST /api/v1/sse/executions/{execution_id}/ticket`: a ticket for a token in the headers."""

from dataclasses import dataclass

from aiohttp import web

from gateway.access.policy import Policy
from gateway.access.quota import Quota
from gateway.access.tickets import Tickets
from gateway.errors import MalformedRequest
from gateway.http.credentials import read_credentials
from gateway.http.errors import json_response


@dataclass(frozen=True, slots=True)
class TicketHandler:
    """Gives tickets to whoever may watch."""

    policy: Policy
    quota: Quota
    office: Tickets

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One ticket; nothing in the body is looked at."""
        if any(name in request.query for name in ("Authorization", "organization_id", "ticket")):
            raise MalformedRequest(
                "A ticket is there so that no token stands in a URL: send Authorization and "
                "X-Organization-ID as headers.",
                "credentials_in_query",
            )
        principal = await self.policy.identify(
            request.match_info["execution_id"], read_credentials(request)
        )
        self.quota.ticket(principal)
        await self.policy.admit(principal)
        ticket = await self.office.issue(principal)
        return json_response({"ticket": ticket.text, "expires_in": ticket.expires_in})
