"""Where a request carries its credentials and its cursor: headers, or the query for a native
EventSource.

`gateway.access` checks them. A credential that is given twice in one place is refused: a proxy or a
log that reads the other value would see another caller.
"""

from dataclasses import dataclass

from aiohttp import web
from multidict import MultiMapping

from gateway.access.policy import Credentials
from gateway.errors import MalformedRequest, Unauthenticated
from gateway.events.ids import EventId, parse_id
from gateway.events.set_cursor import SetCursor
from gateway.settings import Settings, variable

_BEARER = "bearer "

_HEADERS = ("Authorization", "X-Organization-ID", "Last-Event-ID")
_CURSORS = ("lastEventId", "last_event_id")
"""The first one counts: some clients append it to an address that has the other one already."""

_PARAMETERS = ("Authorization", "organization_id", "ticket", *_CURSORS)
"""In exactly this case: parameters are case-sensitive, headers are not."""


@dataclass(frozen=True, slots=True)
class TokenCookie:
    """The cookie *name*, whose value is a token.

    A browser sends it with requests of any page, so it counts only for pages of the gateway's own
    origin and of *origins*; and only in a GET, since nothing that changes something takes it.
    """

    name: str
    origins: frozenset[str]

    def token(self, request: web.Request) -> str | None:
        """Its value; None where there is none.

        Raises:
            MalformedRequest: it is given twice: a neighbouring host may have set the other one.
            Unauthenticated: nothing says that the page may use it.
        """
        if request.method != "GET":
            return None
        pairs = (
            pair.partition("=")
            for line in request.headers.getall("Cookie", ())
            for pair in line.split(";")
        )
        values = [value for name, _, value in pairs if name.strip(" \t") == self.name]
        if not values:
            return None
        if len(values) > 1:
            raise _duplicate(f"The cookie {self.name} is given more than once: send it once.")
        sites = request.headers.getall("Sec-Fetch-Site", ())
        origins = request.headers.getall("Origin", ())
        own = len(sites) == 1 and sites[0] in ("same-origin", "none")
        listed = len(origins) == 1 and origins[0] in self.origins
        if not (own or listed):
            raise Unauthenticated(
                f"The cookie {self.name} counts only for pages of this origin over HTTPS, or of "
                f"{variable('cors_origins')}: send the token as `Authorization: Bearer <token>`.",
                "cookie_refused",
            )
        return values[0].strip(" \t").strip('"') or None


def token_cookie(settings: Settings) -> TokenCookie | None:
    """The cookie of *settings*, if there is one; `*` lists no origin."""
    if settings.token_cookie is None:
        return None
    return TokenCookie(settings.token_cookie, frozenset(settings.cors_origins) - {"*"})


def read_credentials(request: web.Request, cookie: TokenCookie | None = None) -> Credentials:
    """The credentials of *request*; headers override the query (CONTRACT.md), but only a bearer
    token does: the `Authorization: Basic` of a site with a password is for another server. Only
    where neither has a token or a ticket, *cookie* is looked for.

    Raises:
        MalformedRequest: one is given twice, or a ticket along with a token.
        Unauthenticated: see `TokenCookie.token`.
    """
    headers = request.headers
    _refuse_repeated(headers, _HEADERS)
    organization = headers.get("X-Organization-ID")
    token, ticket = _bearer(headers.get("Authorization")), None
    if request.rel_url.raw_query_string:
        query = request.query
        _refuse_repeated(query, _PARAMETERS)
        organization = organization or query.get("organization_id")
        token = token or _bearer(query.get("Authorization"))
        ticket = query.get("ticket")
    if token is not None and ticket is not None:
        raise _duplicate("The request has both a token and a ticket: send only one of them.")
    if token is None and ticket is None and cookie is not None:
        token = cookie.token(request)
    return Credentials(token, organization, ticket)


def read_cursor(request: web.Request) -> EventId | None:
    """Where a returning reader stands: the header, else the query for objects without headers.

    Anything that is no id of ours means full history, not an error: some SDKs send `-1`.
    """
    return parse_id(_given_cursor(request))


def read_set_cursor(request: web.Request) -> SetCursor | None:
    """The same for a reader of several executions."""
    return SetCursor.parse(_given_cursor(request))


def _given_cursor(request: web.Request) -> str | None:
    given = request.headers.get("Last-Event-ID")
    if not given and request.rel_url.raw_query_string:
        # Empty counts as not given, as a header does that an EventSource has no id for.
        given = next(filter(None, map(request.query.get, _CURSORS)), None)
    return given


def _refuse_repeated(given: MultiMapping[str], names: tuple[str, ...]) -> None:
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
