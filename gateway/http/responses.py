"""Every refusal on the wire: one JSON form, and for an EventSource a 200 when trouble is passing.

It words nothing itself: the sentences stand in `gateway.errors` and where they are raised.
"""

import logging

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from multidict import istr

from gateway.errors import RequestRefused
from gateway.events.sse_encoder import CloseReason, closing
from gateway.fanout.hub import jittered_retry_ms
from gateway.metrics import Metrics

# `istr`: multidict would fold the case of a plain name for every answer.
_UNLESS_SET = {
    # An answer is what its Content-Type says: an event that looks like HTML is not run.
    istr("X-Content-Type-Options"): "nosniff",
    # Nothing here is a page: opened as one it runs nothing, loads nothing, and is framed nowhere.
    istr("Content-Security-Policy"): "default-src 'none'; frame-ancestors 'none'",
    istr("X-Frame-Options"): "DENY",
    # The query may hold a token, and must not travel on as a Referer.
    istr("Referrer-Policy"): "no-referrer",
    # No page may embed an answer without CORS (as a script or an image) and so draw it into its
    # own process. Whatever asks by CORS, as EventSource, fetch and modules do, is not affected.
    istr("Cross-Origin-Resource-Policy"): "same-origin",
}

_ALWAYS = {
    # aiohttp-cors does not add it, and a shared cache would hand one origin's answer to another.
    istr("Vary"): "Origin",
    # The default tells strangers the versions of Python and aiohttp.
    istr("Server"): "sse-gateway",
}


def add_common_headers(response: web.StreamResponse) -> None:
    """Add them to *response*; a handler's own choice stands, but for `Vary` and `Server`."""
    headers = response.headers
    for name, value in _UNLESS_SET.items():
        headers.setdefault(name, value)
    for name, value in _ALWAYS.items():
        headers[name] = value


log = logging.getLogger(__name__)

STREAM_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache, no-transform",
    # nginx would otherwise collect the stream in its buffers.
    "X-Accel-Buffering": "no",
}

_RETRY_AFTER_SECONDS = "3"


def json_response(
    document: object, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """*document* as JSON, never cached unless *headers* say otherwise."""
    return web.Response(
        body=orjson.dumps(document),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def error_middleware(metrics: Metrics) -> Middleware:
    """Turns what a handler raises into an answer."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except RequestRefused as refusal:
            metrics.refusals[refusal.code] += 1
            return _refuse(request, refusal)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            metrics.refusals["http"] += 1
            return _plain_http(error)
        except ConnectionResetError:
            # The reader has left; there is nobody to answer.
            raise
        except Exception:
            log.exception("A request for %a failed.", request.path)
            return _error(500, "internal_error", "The gateway failed; its log says why.")

    return middleware


def _refuse(request: web.Request, refusal: RequestRefused) -> web.StreamResponse:
    if refusal.temporary and "text/event-stream" in request.headers.get("Accept", ""):
        # Any status but 200 ends a native EventSource for good (CONTRACT.md).
        reason = CloseReason.LIMIT if refusal.status == 429 else CloseReason.UNAVAILABLE
        return web.Response(body=closing(reason, jittered_retry_ms()), headers=STREAM_HEADERS)
    headers = {}
    if refusal.temporary:
        headers["Retry-After"] = _RETRY_AFTER_SECONDS
    if refusal.status == 401:
        # RFC 6750, section 3.
        challenge = "" if refusal.code == "token_missing" else ' error="invalid_token"'
        headers["WWW-Authenticate"] = (
            f'Bearer realm="sse-gateway"{"," if challenge else ""}{challenge}'
        )
    return _error(refusal.status, refusal.code, str(refusal), headers)


def _plain_http(error: web.HTTPException) -> web.Response:
    """aiohttp's own 404, 405 and the like, in our form; a 405 keeps its `Allow`."""
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    code = error.reason.lower().replace(" ", "_")
    return _error(error.status, code, f"{error.reason}: see the paths in the README.", headers)


def _error(
    status: int, code: str, message: str, headers: dict[str, str] | None = None
) -> web.Response:
    return json_response({"error": code, "message": message}, status, headers)
