"""Where a request carries its credentials: headers, or the query for a native EventSource.

It only finds them; whether they are any good is `gateway.access`.
"""

from aiohttp import web

from gateway.access.policy import Credentials

_BEARER = "bearer "


def read_credentials(request: web.Request) -> Credentials:
    """The credentials of *request*; headers win over the query (design, section 2)."""
    authorization = request.headers.get("Authorization") or request.query.get("Authorization")
    organization = request.headers.get("X-Organization-ID") or request.query.get("organization_id")
    return Credentials(_bearer(authorization), organization)


def _bearer(authorization: str | None) -> str | None:
    """The token of an `Authorization` value (RFC 6750, section 2.1), if it is a bearer's."""
    if authorization is None or not authorization.lower().startswith(_BEARER):
        return None
    return authorization[len(_BEARER) :].strip()
