"""Answers: the headers of all of them, and one JSON form of every error.

An EventSource gets a temporary refusal inside a 200: any other status ends it for good.
"""

import logging

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from multidict import istr

from gateway.errors import RequestRefused
from gateway.events.sse_encoder import CloseReason, closing, jittered_retry_ms
from gateway.http.credentials import read_cursor, read_set_cursor
from gateway.metrics import Metrics

log = logging.getLogger(__name__)

# `istr`: multidict would fold the case of a plain name for every answer.
_DEFAULT_HEADERS = {
    # An answer is what its Content-Type says: an event that looks like HTML is not run.
    istr("X-Content-Type-Options"): "nosniff",
    # Nothing here is a page: opened as one it runs nothing, loads nothing, and is framed nowhere.
    istr("Content-Security-Policy"): "default-src 'none'; frame-ancestors 'none'",
    istr("X-Frame-Options"): "DENY",
    # The query may hold a token, and must not travel on as a Referer.
    istr("Referrer-Policy"): "no-referrer",
    # No page may embed an answer without CORS (as a script or an image) and so load it into its
    # own process. What uses CORS, as EventSource, fetch and modules do, is not affected.
    istr("Cross-Origin-Resource-Policy"): "same-origin",
    # aiohttp-cors does not add it, and a shared cache would give one origin's answer to another.
    istr("Vary"): "Origin",
}

_SERVER = istr("Server")

STREAM_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache, no-transform",
    # nginx would otherwise collect the stream in its buffers.
    "X-Accel-Buffering": "no",
}

INTERNAL_ERROR = "The gateway failed: its log has the error."


def add_common_headers(response: web.StreamResponse) -> None:
    """Add the headers of every answer; a handler's own values stay, but for `Server`."""
    headers = response.headers
    for name, value in _DEFAULT_HEADERS.items():
        headers.setdefault(name, value)
    # aiohttp's own shows everybody the versions of Python and aiohttp.
    headers[_SERVER] = "sse-gateway"


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


def error_response(
    status: int, code: str, message: str, headers: dict[str, str] | None = None
) -> web.Response:
    """The JSON form of an error."""
    return json_response({"error": code, "message": message}, status, headers)


def final_error(status: int, code: str, message: str) -> web.Response:
    """The answer to what no middleware sees; it ends the connection."""
    response = error_response(status, code, message)
    # No signal of the application is sent for a request that could not be parsed.
    add_common_headers(response)
    response.force_close()
    return response


def error_middleware(metrics: Metrics) -> Middleware:
    """Turns what a handler raises into an answer."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except RequestRefused as refusal:
            code, reason = refusal.code, refusal.reason
            metrics.refusals[(code, reason) if reason else code] += 1
            return _refuse(request, refusal)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            metrics.refusals["http"] += 1
            return _http_error(error)
        except ConnectionResetError:
            # The reader has left: nobody is there to answer.
            raise
        except Exception:
            log.exception("A request for %a failed.", request.path)
            return error_response(500, "internal_error", INTERNAL_ERROR)

    return middleware


def add_fallback(application: web.Application) -> None:
    """Answer 404 or 405 to what no other route of *application* takes; add it last.

    aiohttp's own way makes a route for each such request, which refers to itself and to the error
    that it raises: 2 KiB each would stay until the garbage collector runs.
    """
    catch_all = application.router.add_resource("/{any:.*}")

    async def handle(request: web.Request) -> web.StreamResponse:
        allowed: set[str] = set()
        for resource in application.router.resources():
            if resource is not catch_all:
                _, methods = await resource.resolve(request)
                allowed |= methods
        if allowed:
            raise web.HTTPMethodNotAllowed(request.method, allowed)
        raise web.HTTPNotFound

    catch_all.add_route("*", handle)


def _refuse(request: web.Request, refusal: RequestRefused) -> web.StreamResponse:
    if (
        refusal.temporary
        and request.method == "GET"
        and "text/event-stream" in request.headers.get("Accept", "")
    ):
        # Any status but 200 ends a native EventSource for good (CONTRACT.md).
        reason = CloseReason.LIMIT if refusal.status == 429 else CloseReason.UNAVAILABLE
        cursor = read_cursor(request) or read_set_cursor(request)
        body = closing(reason, jittered_retry_ms(), cursor)
        return web.Response(body=body, headers=STREAM_HEADERS)
    headers = {}
    if refusal.temporary:
        headers["Retry-After"] = str(refusal.retry_after)
    if refusal.status == 401:
        # RFC 6750, section 3.
        error = (
            ""
            if refusal.code in ("token_missing", "header_required")
            else ', error="invalid_token"'
        )
        headers["WWW-Authenticate"] = f'Bearer realm="sse-gateway"{error}'
    document: dict[str, object] = {"error": refusal.code, "message": str(refusal)}
    if refusal.ids:
        document["ids"] = list(refusal.ids)
    if refusal.index is not None:
        document["index"] = refusal.index
    return json_response(document, refusal.status, headers)


def _http_error(error: web.HTTPException) -> web.Response:
    """aiohttp's own 404, 405 and the like in our form; a 405 keeps its `Allow`."""
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    code = error.reason.lower().replace(" ", "_")
    return error_response(
        error.status, code, f"{error.reason}: the paths are in gateway/CONTRACT.md.", headers
    )
