"""Where a request carries its credentials: headers, or the query for a native EventSource.

`gateway.access` checks them. What is given twice in one place is refused: a proxy or a log that
reads the other value would see another caller.
"""

from aiohttp import web
from multidict import MultiDict, MultiDictProxy, MultiMapping

from gateway.access.policy import Credentials
from gateway.errors import MalformedRequest

_NO_QUERY: MultiMapping[str] = MultiDictProxy(MultiDict())

_BEARER = "bearer "

_HEADERS = ("Authorization", "X-Organization-ID", "Last-Event-ID")
_PARAMETERS = ("Authorization", "organization_id", "ticket", "last_event_id")
"""In exactly this case: parameters are case-sensitive, headers are not."""


def read_credentials(request: web.Request) -> Credentials:
    """The credentials of *request*; headers override the query (CONTRACT.md), but only a bearer
    token does: the `Authorization: Basic` of a site with a password is for another server.

    Raises:
        MalformedRequest: one is given twice, or a ticket along with a token.
    """
    headers = request.headers
    # Saves the parsing for requests without a query, as our client's are.
    query = request.query if request.rel_url.raw_query_string else _NO_QUERY
    _refuse_repeated(headers, _HEADERS)
    _refuse_repeated(query, _PARAMETERS)
    organization = headers.get("X-Organization-ID") or query.get("organization_id")
    token = _bearer(headers.get("Authorization")) or _bearer(query.get("Authorization"))
    ticket = query.get("ticket")
    if token is not None and ticket is not None:
        raise _duplicate("The request has both a token and a ticket: send only one of them.")
    return Credentials(token, organization, ticket)


def _refuse_repeated(given: MultiMapping[str], names: tuple[str, ...]) -> None:
    if not given:
        return
    for name in names:
        if len(given.getall(name, ())) > 1:
            raise _duplicate(f"{name} is given more than once: send it once.")


def _duplicate(message: str) -> MalformedRequest:
    return MalformedRequest(message, "duplicate_credentials")


def _bearer(authorization: str | None) -> str | None:
    """The token of an `Authorization` value (RFC 6750, section 2.1); None if it holds none."""
    if authorization is None or not authorization.lower().startswith(_BEARER):
        return None
    # Only the white space of HTTP: a token with any other character beside it is malformed.
    return authorization[len(_BEARER) :].strip(" \t") or None
