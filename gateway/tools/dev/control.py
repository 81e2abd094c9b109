"""What the page of `sse-gateway dev` can do beyond watching: get a token, start, pause, approve.

Only for development: every page of this origin and every program of this machine gets a token.
"""

from collections.abc import Callable
from ipaddress import ip_address
from urllib.parse import urlsplit

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.errors import Forbidden, MalformedRequest
from gateway.http.responses import json_response
from gateway.tools.dev.engine import ORGANIZATION, SimulatedEngine
from gateway.tools.dev.simulation import ENDINGS

TOKEN_SECONDS = 3600
"""How long a token of the page is valid; the page renews it in time."""


def add_control(
    application: web.Application,
    engine: SimulatedEngine | None,
    issue_token: Callable[[int], str],
    host: str,
) -> None:
    """Serve `/dev/…`; without an *engine* no executions are listed and none can be started.

    *issue_token* makes a token of `ORGANIZATION` that is valid for so many seconds. *host* is what
    the gateway listens on.
    """
    guard = Guard(host)

    async def session(_: web.Request) -> web.Response:
        return json_response(
            {
                "token": issue_token(TOKEN_SECONDS),
                "organization_id": ORGANIZATION,
                "expires_in": TOKEN_SECONDS,
            }
        )

    async def executions(_: web.Request) -> web.Response:
        return json_response(engine.executions() if engine is not None else [])

    application.router.add_get("/dev/session", guard(session))
    application.router.add_get("/dev/executions", guard(executions))
    if engine is not None:
        _add_commands(application, engine, guard)


def _add_commands(application: web.Application, engine: SimulatedEngine, guard: "Guard") -> None:
    async def start(request: web.Request) -> web.Response:
        ending = (await _read_command(request)).get("ending", "completed")
        if ending not in ENDINGS:
            raise MalformedRequest(f"`ending` must be one of {', '.join(ENDINGS)}.")
        return json_response({"id": engine.start(ending)}, 201)

    async def pause(request: web.Request) -> web.Response:
        await _read_command(request)
        return json_response({"done": engine.pause(request.match_info["execution_id"])})

    async def approve(request: web.Request) -> web.Response:
        await _read_command(request)
        return json_response({"done": engine.approve(request.match_info["execution_id"])})

    application.router.add_post("/dev/executions", guard(start))
    application.router.add_post("/dev/executions/{execution_id}/pause", guard(pause))
    application.router.add_post("/dev/executions/{execution_id}/approve", guard(approve))


async def _read_command(request: web.Request) -> dict[str, object]:
    """The body, a JSON object.

    Raises:
        MalformedRequest: it is none, or has another content type. A page of another origin cannot
            send this content type without a preflight request.
    """
    try:
        document = orjson.loads(await request.read())
    except orjson.JSONDecodeError:
        document = None
    if request.content_type != "application/json" or not isinstance(document, dict):
        raise MalformedRequest("Send a JSON object as application/json.")
    return document


_EVERY_ADDRESS = ("0.0.0.0", "::", "")  # noqa: S104 - compared, not bound


class Guard:
    """Refuses requests that do not come from the gateway's own page.

    A page of another site can have its own name resolve to 127.0.0.1 (DNS rebinding), and then read
    every answer. But it cannot change `Host`, which holds that name. A request without `Origin` is
    the page's own, or of no browser.
    """

    def __init__(self, bound: str) -> None:
        """*bound*: the address or name that the gateway listens on."""
        self._bound = bound.lower()

    def __call__(self, handler: Handler) -> Handler:
        """*handler*, which then raises `Forbidden` for another host or origin."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            self._check(request)
            return await handler(request)

        return guarded

    def _check(self, request: web.Request) -> None:
        host = request.headers.get("Host", "")
        if not self._is_own(host):
            raise Forbidden(
                "This host name is not the gateway's: open it as localhost, by its IP address, or "
                "by the name in GATEWAY_HOST.",
                "host_forbidden",
            )
        origin = request.headers.get("Origin")
        if origin is not None and origin.partition("://")[2].lower() != host.lower():
            raise Forbidden(
                "Only the gateway's own page may use this: open that page.", "origin_forbidden"
            )

    def _is_own(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        # Browsers resolve every name that ends with .localhost to this machine.
        if name == "localhost" or name.endswith(".localhost") or name == self._bound:
            return bool(name)
        try:
            address = ip_address(name)
        except ValueError:
            return False
        # An address involves no DNS, so no rebinding.
        return address.is_loopback or self._bound in _EVERY_ADDRESS
