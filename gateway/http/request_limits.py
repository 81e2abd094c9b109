"""Limits of every request, checked before its credentials: no unexpected body, a short query.

What arrives before a request is complete is limited by `gateway.http.connection`.
"""

import asyncio

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from gateway.errors import BodyTooLarge, MalformedRequest, RequestTimedOut
from gateway.http.screen import most_body_bytes, publishes
from gateway.http.set_request import other_parameters

BODY: web.RequestKey[bytes] = web.RequestKey("body", bytes)
"""Where a request holds its body, if it has one."""

BODY_IS_READ = web.RequestKey("body_is_read", bool)
"""Set where the handler has read a body of known length to its end."""

MAX_PARAMETERS = 16
"""Most parameters of a query, beside the executions of a set. Its bytes are limited with the
target's."""


def request_limits_middleware(body_timeout: float, *, publish: bool = False) -> Middleware:
    """Refuses requests beyond the limits; *body_timeout*: seconds for a POST's body to arrive.
    *publish*: requests that publish read their bodies themselves."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.rel_url.raw_query_string.count("&") >= MAX_PARAMETERS and (
            other_parameters(request) > MAX_PARAMETERS
        ):
            raise MalformedRequest(
                f"The query has more than {MAX_PARAMETERS} parameters: send only those of the API.",
                "too_many_parameters",
            )
        if request.body_exists and not (
            publish and publishes(request.method, request.rel_url.raw_path)
        ):
            await _read_body(request, body_timeout)
        return await handler(request)

    return middleware


async def _read_body(request: web.Request, timeout: float) -> None:
    """Read the body, and keep it for the handler.

    Raises:
        MalformedRequest: the method must have no body.
        BodyTooLarge: it has more than a body for this path may have.
        RequestTimedOut: it did not arrive in time, or not in valid chunks.
    """
    if request.method != "POST":
        # RFC 9110, section 9.3.1: a body in a GET has no meaning, and can smuggle a request.
        raise MalformedRequest(
            f"A {request.method} request must not have a body: leave it out.", "body_not_allowed"
        )
    most = most_body_bytes(request.path)
    if (request.content_length or 0) > most:
        raise BodyTooLarge(most)
    body = b""
    try:
        async with asyncio.timeout(timeout):
            # Not `request.read`: it stops at one size for all paths.
            async for piece in request.content.iter_any():
                body += piece
                if len(body) > most:
                    raise BodyTooLarge(most)
    except TimeoutError:
        raise RequestTimedOut from None
    request[BODY] = body


def end_with_body(request: web.Request, response: web.StreamResponse) -> None:
    """Close the connection after a refused request with a body: before its headers are written.

    So nothing of the body can be parsed as the next request.
    """
    if request.body_exists and response.status >= 400 and BODY_IS_READ not in request:
        response.force_close()
        # aiohttp has already set it when the signal `on_response_prepare` is sent.
        response.headers["Connection"] = "close"
