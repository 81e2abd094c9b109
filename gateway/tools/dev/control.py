"""What the page of `sse-gateway dev` can do beyond watching: get a token, cut connections, and give
commands (see `commands`).

Only for development: every page of this origin and every program of this machine gets a token.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from aiohttp import web

from gateway.access.tokens import issue
from gateway.fanout.hub import Hub
from gateway.http.responses import json_response
from gateway.settings import Settings
from gateway.tools.dev.commands import read_command
from gateway.tools.dev.engine import ORGANIZATION
from gateway.tools.dev.guard import Guard
from gateway.tools.dev.heard import HeardRuns

TOKEN_SECONDS = 3600
"""How long a token of the page is valid; the page renews it in time."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What the page is told that it can do."""

    instance: str
    """Of this `sse-gateway dev`: by it a page sees that it is another one's."""
    engine: bool
    restarts: Sequence[str]


def token_of(settings: Settings, ttl_seconds: int, more: Mapping[str, object] | None = None) -> str:
    """A token of `ORGANIZATION` that is valid for so many seconds, with *more* claims."""
    return issue(
        settings.secrets[0],
        organization_id=ORGANIZATION,
        ttl_seconds=ttl_seconds,
        claim=settings.organization_claim,
        more=more,
    )


@dataclass(frozen=True, slots=True)
class _Control:
    """What `/dev/…` answers."""

    hub: Hub
    runs: HeardRuns
    settings: Settings
    offer: Offer
    published: Callable[[], Awaitable[Mapping[str, int]]]

    async def session(self, _: web.Request) -> web.Response:
        return json_response(
            {
                "token": token_of(self.settings, TOKEN_SECONDS),
                "organization_id": ORGANIZATION,
                "expires_in": TOKEN_SECONDS,
                "engine": self.offer.engine,
                "restarts": self.offer.restarts,
            }
        )

    async def executions(self, _: web.Request) -> web.Response:
        listed = await self.runs.list(await self.published())
        # By `now`, in milliseconds, the page sees how far its own clock is off.
        return json_response(
            {"instance": self.offer.instance, "now": time.time() * 1000, "executions": listed}
        )

    async def cut(self, request: web.Request) -> web.Response:
        await read_command(request)
        execution_id = request.match_info["execution_id"]
        streams = [one for one in self.hub if execution_id in one.execution_ids]
        for stream in streams:
            stream.abort()
        return json_response({"done": bool(streams)})

    async def count(self, _: web.Request) -> web.Response:
        return json_response(await self.published())


def add_control(
    application: web.Application,
    hub: Hub,
    runs: HeardRuns,
    settings: Settings,
    offer: Offer,
    published: Callable[[], Awaitable[Mapping[str, int]]],
) -> Guard:
    """Serve `/dev/…`; returns the guard of it. *published* tells how many events the engine has
    published, by execution."""
    guard = Guard(settings.host)
    control = _Control(hub, runs, settings, offer, published)
    application.router.add_get("/dev/session", guard(control.session))
    application.router.add_get("/dev/published", guard(control.count))
    application.router.add_get("/dev/executions", guard(control.executions))
    application.router.add_post("/dev/executions/{execution_id}/cut", guard(control.cut))
    return guard
