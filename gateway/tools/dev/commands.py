"""The commands of the page of `sse-gateway dev`: to the simulated engine, and to restart the
gateway or its Redis.

The gateway is a process of its own, which can be restarted. So its parent, which runs the engine
and Redis, carries the commands out; the gateway passes them on through a Unix socket.
"""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from pathlib import Path

import aiohttp
import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.errors import MalformedRequest
from gateway.http.request_limits import BODY
from gateway.http.responses import error_response, json_response
from gateway.tools.dev.engine import SimulatedEngine
from gateway.tools.dev.simulation import ENDINGS

Restart = Callable[[], Awaitable[None]]

PUBLISHED = "/dev/published"
"""Where the parent says how many events the engine has published."""
_SECONDS = 10.0
"""How long the gateway waits for the answer to a command."""


def _as_it_is(handler: Handler) -> Handler:
    return handler


def add_commands(
    application: web.Application,
    engine: SimulatedEngine | None,
    restarts: Mapping[str, Restart],
    guard: Callable[[Handler], Handler] = _as_it_is,
) -> None:
    """Carry out commands; without an *engine* no execution can be started. *restarts*: what can be
    restarted, by its name."""

    async def restart(request: web.Request) -> web.Response:
        what = (await read_command(request)).get("what")
        if what not in restarts:
            raise MalformedRequest(f"`what` must be one of {', '.join(restarts) or 'none'}.")
        await restarts[str(what)]()
        return json_response({"done": True})

    application.router.add_post("/dev/restart", guard(restart))
    if engine is not None:
        _add_executions(application, engine, guard)


def _add_executions(
    application: web.Application,
    engine: SimulatedEngine,
    guard: Callable[[Handler], Handler],
) -> None:
    async def start(request: web.Request) -> web.Response:
        ending = (await read_command(request)).get("ending", "completed")
        if ending not in ENDINGS:
            raise MalformedRequest(f"`ending` must be one of {', '.join(ENDINGS)}.")
        run = engine.start(ending)
        return json_response({"id": run.execution_id, "workflow_id": run.workflow_id}, 201)

    async def pause(request: web.Request) -> web.Response:
        await read_command(request)
        return json_response({"done": engine.pause(request.match_info["execution_id"])})

    async def approve(request: web.Request) -> web.Response:
        await read_command(request)
        return json_response({"done": engine.approve(request.match_info["execution_id"])})

    application.router.add_post("/dev/executions", guard(start))
    application.router.add_post("/dev/executions/{execution_id}/pause", guard(pause))
    application.router.add_post("/dev/executions/{execution_id}/approve", guard(approve))


async def read_command(request: web.Request) -> dict[str, object]:
    """The body, a JSON object.

    Raises:
        MalformedRequest: it is none, or has another content type. A page of another origin cannot
            send this content type without a preflight request.
    """
    try:
        document = orjson.loads(await _body_of(request))
    except orjson.JSONDecodeError:
        document = None
    if request.content_type != "application/json" or not isinstance(document, dict):
        raise MalformedRequest("Send a JSON object as application/json.")
    return document


async def _body_of(request: web.Request) -> bytes:
    # The gateway has read it already, the parent has not.
    body = request.get(BODY)
    return await request.read() if body is None else body


class Forwarder:
    """Passes the commands on, from the gateway to its parent."""

    def __init__(self, socket: Path) -> None:
        """*socket*: where the parent listens; see `add_commands`."""
        self._session = aiohttp.ClientSession(
            "http://parent",
            connector=aiohttp.UnixConnector(str(socket)),
            timeout=aiohttp.ClientTimeout(_SECONDS),
        )

    async def close(self) -> None:
        await self._session.close()

    def add_routes(self, application: web.Application, guard: Callable[[Handler], Handler]) -> None:
        """Pass on every command that the page has."""
        for path in ("", "/{execution_id}/pause", "/{execution_id}/approve"):
            application.router.add_post(f"/dev/executions{path}", guard(self._forward))
        application.router.add_post("/dev/restart", guard(self._forward))

    async def published(self) -> Mapping[str, int]:
        """See `SimulatedEngine.published`."""
        try:
            async with self._session.get(PUBLISHED) as answer:
                published: Mapping[str, int] = await answer.json()
        except (aiohttp.ClientError, TimeoutError):
            return {}
        return published

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        try:
            async with self._session.post(
                request.rel_url.path,
                data=await _body_of(request),
                headers={"Content-Type": request.headers.get("Content-Type", "")},
            ) as answer:
                return web.Response(
                    body=await answer.read(),
                    status=answer.status,
                    content_type="application/json",
                    headers={"Cache-Control": "no-store"},
                )
        except (aiohttp.ClientError, TimeoutError):
            message = "`sse-gateway dev` does not answer: look at its terminal."
            return error_response(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", message)
