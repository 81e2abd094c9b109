"""CORS: which pages of other origins may ask and read, and with which request headers."""

import logging
import re
from collections.abc import Awaitable, Callable, Collection, Iterable

import aiohttp_cors
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from gateway.errors import Forbidden
from gateway.http.access_log import REQUEST_ID_HEADER, request_id
from gateway.http.request_limits import end_with_body
from gateway.http.responses import add_common_headers
from gateway.log import RateLimitedLog
from gateway.settings import Settings, variable

log = logging.getLogger(__name__)

_ALLOWED_HEADERS = (
    "Authorization",
    "X-Organization-ID",
    "Last-Event-ID",
    "If-None-Match",
    "Cache-Control",
    "Content-Type",
    # What monitoring and older libraries add to every request of a page.
    "traceparent",
    "tracestate",
    "baggage",
    "sentry-trace",
    "x-datadog-*",
    "x-requested-with",
    "pragma",
)
_EXPOSED_HEADERS = ("ETag", "Retry-After")
_PREFLIGHT_SECONDS = 600
_NAME = re.compile(r"[\w!#$%&'*+.^`|~-]{1,64}", re.ASCII)
_MOST_NAMED = 5
_MOST_ORIGINS = 1000
_ORIGIN_LENGTH = 300
"""Characters of an origin that are remembered and logged; no host has as many."""
_ORIGINS_EVERY = 1.0
"""Seconds between two lines about origins that are not allowed."""

_refused_log = RateLimitedLog(60.0)


def add_cors(
    application: web.Application, settings: Settings, routes: Iterable[web.AbstractRoute]
) -> None:
    """Allow pages of the origins of *settings* to use *routes*.

    Only pages of listed origins may send cookies, never those of `*`: else any page could read with
    the rights of its visitor.
    """
    options = {
        origin: aiohttp_cors.ResourceOptions(
            allow_credentials=settings.with_cookies and origin != "*",
            # The middleware has refused others: aiohttp-cors knows no prefixes, and its refusal
            # does not reach the page's developer.
            allow_headers="*",
            expose_headers=_EXPOSED_HEADERS,
            max_age=_PREFLIGHT_SECONDS,
        )
        for origin in settings.cors_origins
    }
    if options:
        cors = aiohttp_cors.setup(application)
        for route in routes:
            cors.add(route, options)
        allowed = (*_ALLOWED_HEADERS, *settings.cors_headers)
        application.middlewares.append(_preflight_middleware(options, allowed))
    application.on_response_prepare.append(_finish_headers)
    if "*" not in options:
        application.on_response_prepare.append(_log_other_origins(options))


def _preflight_middleware(origins: Collection[str], allowed: Iterable[str]) -> Middleware:
    names = {name.lower() for name in allowed}
    prefixes = tuple(name[:-1] for name in names if name.endswith("*"))

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method == "OPTIONS" and (
            "*" in origins or request.headers.get("Origin") in origins
        ):
            lines = ",".join(request.headers.getall("Access-Control-Request-Headers", ()))
            asked = [name for one in lines.lower().split(",") if (name := one.strip(" \t"))]
            refused = [
                name
                for name in asked
                if not (_NAME.fullmatch(name) and (name in names or name.startswith(prefixes)))
            ]
            if refused:
                _refuse(refused)
        return await handler(request)

    return middleware


def _refuse(names: list[str]) -> None:
    # Only what is a header's name is repeated.
    shown = ", ".join(
        name if _NAME.fullmatch(name) else "(not a name)" for name in names[:_MOST_NAMED]
    )
    message = (
        f"Pages of other origins may not send the header {shown}: leave it out, or add it to "
        f"{variable('cors_headers')}."
    )
    _refused_log.warning(log, "A preflight was refused. %s", message)
    raise Forbidden(message, "header_not_allowed")


def _log_other_origins(listed: Collection[str]) -> Callable[..., Awaitable[None]]:
    """Logs each origin that is not *listed* once: else only the page's console shows the error."""
    logged: set[str] = set()
    gate = RateLimitedLog(_ORIGINS_EVERY)

    async def look(request: web.Request, _: web.StreamResponse) -> None:
        origin = request.headers.get("Origin", "")[:_ORIGIN_LENGTH]
        if not origin or origin in listed or origin in logged:
            return
        # A page of the gateway's own origin needs no permission.
        if origin.rpartition("://")[2] == request.host or len(logged) >= _MOST_ORIGINS:
            return
        # Strangers can send any; one that is held back is logged when it comes again.
        if (held_back := gate.due()) is not None:
            logged.add(origin)
            log.warning(
                "The origin %s is not allowed: its pages cannot read what the gateway answers. If "
                "they should, add it to %s. (%d more since the last line.)",
                origin,
                variable("cors_origins"),
                held_back,
            )

    return look


async def _finish_headers(request: web.Request, response: web.StreamResponse) -> None:
    add_common_headers(response)
    response.headers[REQUEST_ID_HEADER] = request_id(request)
    end_with_body(request, response)
