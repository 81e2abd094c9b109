"""What the page of `sse-gateway dev` can do beyond watching: get a token, start, pause, approve.

Only for development: it hands a token to every page of this origin and every program of this
machine (`gateway.tools.dev.guard`). The events themselves come to the page through the gateway's
own stream, like to anybody else.
"""

from collections.abc import Callable

import orjson
from aiohttp import web

from gateway.errors import MalformedRequest
from gateway.http.responses import json_response
from gateway.tools.dev.engine import ORGANIZATION, SimulatedEngine
from gateway.tools.dev.guard import Guard
from gateway.tools.dev.script import ENDINGS

TOKEN_SECONDS = 3600
"""How long a token of the page is valid; the page asks for the next one in time."""


def add_control(
    application: web.Application,
    engine: SimulatedEngine | None,
    issue_token: Callable[[int], str],
    host: str,
) -> None:
    """Serve `/dev/…`; without an *engine* no executions are listed and none can be started.

    *issue_token* gives a token of the organization `dev-org` that is valid for so many seconds.
    *host* is what the gateway listens on.
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
        _add_orders(application, engine, guard)


def _add_orders(application: web.Application, engine: SimulatedEngine, guard: Guard) -> None:
    async def start(request: web.Request) -> web.Response:
        ending = (await _ordered(request)).get("ending", "completed")
        if ending not in ENDINGS:
            raise MalformedRequest(f"ending is one of {', '.join(ENDINGS)}.")
        return json_response({"id": engine.start(ending)}, 201)

    async def pause(request: web.Request) -> web.Response:
        await _ordered(request)
        return json_response({"done": engine.pause(request.match_info["execution_id"])})

    async def approve(request: web.Request) -> web.Response:
        await _ordered(request)
        return json_response({"done": engine.approve(request.match_info["execution_id"])})

    application.router.add_post("/dev/executions", guard(start))
    application.router.add_post("/dev/executions/{execution_id}/pause", guard(pause))
    application.router.add_post("/dev/executions/{execution_id}/approve", guard(approve))


async def _ordered(request: web.Request) -> dict[str, object]:
    """The order, a JSON object.

    Raises:
        MalformedRequest: it is none; also without its content type, which another origin's page
            cannot send without asking first.
    """
    try:
        document = orjson.loads(await request.read())
    except orjson.JSONDecodeError:
        document = None
    if request.content_type != "application/json" or not isinstance(document, dict):
        raise MalformedRequest("Send a JSON object as application/json.")
    return document
