"""The admin application: its paths, and what each answers. `gateway.server` listens for it."""

from collections.abc import Sequence, Set
from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client.exposition import choose_encoder

from gateway.admin.exposition import create_registry
from gateway.admin.sources import Sources
from gateway.admin.streams import streams_handler
from gateway.errors import Forbidden
from gateway.http.errors import error_middleware, json_response
from gateway.http.headers import add_common_headers
from gateway.http.nothing_here import add_nothing_here
from gateway.metrics import Metrics
from gateway.settings import variable


def create_admin(sources: Sources, hosts: Sequence[str]) -> web.Application:
    """`/metrics`, `/ready`, `/live` and `/streams` of one gateway, also by the names *hosts*."""
    # Its own counters: what an operator mistypes is no refusal of a reader.
    application = web.Application(middlewares=[error_middleware(Metrics()), _only_for(hosts)])
    application.on_response_prepare.append(_finish_headers)
    application.router.add_get("/metrics", _metrics(sources))
    application.router.add_get("/ready", _ready(sources))
    application.router.add_get("/live", _live(sources))
    application.router.add_get("/streams", streams_handler(sources.hub))
    add_nothing_here(application)
    return application


def _only_for(hosts: Sequence[str]) -> Middleware:
    """Refuses names that are not ours: a page whose name was made to point at loopback (DNS
    rebinding) is of the same origin as what it finds here, and could read it."""
    allowed = {"localhost", *(host.lower() for host in hosts)}

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Host")
        # No page reaches a unix socket, and each proxy calls it as it likes.
        if given is not None and not _is_unix(request) and not _is_ours(given, allowed):
            raise Forbidden(
                "This address answers to localhost and to IP addresses alone: use one of them, or "
                f"list the name in {variable('admin_hosts')}.",
                "host_not_allowed",
            )
        return await handler(request)

    return middleware


def _is_unix(request: web.Request) -> bool:
    return request.transport is not None and not isinstance(
        request.transport.get_extra_info("sockname"), tuple
    )


def _is_ours(host: str, allowed: Set[str]) -> bool:
    try:
        # No browser sends an @.
        name = "" if "@" in host else urlsplit(f"//{host}").hostname or ""
        if name in allowed:
            return True
        # Only a name can be made to point here.
        ip_address(name)
    except ValueError:
        return False
    return True


async def _finish_headers(_: web.Request, response: web.StreamResponse) -> None:
    add_common_headers(response)


def _metrics(sources: Sources) -> Handler:
    registry = create_registry(sources)

    async def handle(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        headers = {"Content-Type": content_type, "Cache-Control": "no-store"}
        return web.Response(body=encode(registry), headers=headers)

    return handle


def _ready(sources: Sources) -> Handler:
    """200 while new streams may be sent here; 503 while events cannot be trusted to arrive, and
    from the beginning of the drain."""

    async def handle(_: web.Request) -> web.Response:
        return _state("ready", sources.not_ready())

    return handle


def _live(sources: Sources) -> Handler:
    """200 while nothing is wrong that only a restart can mend: Redis being away is not."""

    async def handle(_: web.Request) -> web.Response:
        stuck = sources.health.stuck()
        return _state("live", [stuck] if stuck else [])

    return handle


def _state(name: str, reasons: list[str]) -> web.Response:
    if reasons:
        return json_response({"status": f"not {name}", "reasons": reasons}, 503)
    return json_response({"status": name})
