"""What every request must keep to, whoever sends it: no stray body, a short query.

It comes before credentials are looked at. What arrives before a request is complete is the matter
of `gateway.http.connection`.
"""

import asyncio

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from gateway.errors import BodyTooLarge, MalformedRequest, RequestTimedOut

MAX_PARAMETERS = 16
"""Most parameters of a query; the contract knows five. Its bytes are limited with the target's."""

MAX_BODY_BYTES = 1024
"""Most bytes of a POST's body; the contract knows none that says anything."""


def request_limits_middleware(body_timeout: float) -> Middleware:
    """Refuses unclean requests; *body_timeout*: seconds that a POST's body may take to arrive."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.rel_url.raw_query_string.count("&") >= MAX_PARAMETERS:
            raise MalformedRequest(
                f"The query has more than {MAX_PARAMETERS} parameters: leave out what the "
                "contract does not name.",
                "too_many_parameters",
            )
        if request.body_exists:
            await _read_body(request, body_timeout)
        return await handler(request)

    return middleware


async def _read_body(request: web.Request, timeout: float) -> None:
    """Take in the body, which aiohttp keeps for the handler.

    Raises:
        MalformedRequest: there must be none.
        BodyTooLarge: it has more than `MAX_BODY_BYTES`.
        RequestTimedOut: it did not arrive in time, or not in valid chunks.
    """
    if request.method != "POST":
        # RFC 9110, section 9.3.1: a body in a GET has no meaning, and is how requests are smuggled.
        raise MalformedRequest(
            f"A {request.method} request must have no body here: leave it out.", "body_not_allowed"
        )
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise BodyTooLarge(MAX_BODY_BYTES)
    try:
        async with asyncio.timeout(timeout):
            await request.read()
    except TimeoutError:
        raise RequestTimedOut from None
    except web.HTTPRequestEntityTooLarge:
        raise BodyTooLarge(MAX_BODY_BYTES) from None


def end_with_body(request: web.Request, response: web.StreamResponse) -> None:
    """End the connection of a refused request that has a body, before its headers are written.

    Nothing of the body can then be taken for the next request.
    """
    if request.body_exists and response.status >= 400:
        response.force_close()
        # aiohttp has chosen it already when the signal `on_response_prepare` is sent.
        response.headers["Connection"] = "close"
