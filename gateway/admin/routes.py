"""The admin application: its paths, and what each answers. `gateway.server` listens for it."""

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client.exposition import choose_encoder

from gateway.admin.exposition import create_registry
from gateway.admin.sources import Sources
from gateway.admin.streams import streams_handler
from gateway.http.errors import error_middleware, json_response
from gateway.http.nothing_here import add_nothing_here
from gateway.metrics import Metrics


def create_admin(sources: Sources) -> web.Application:
    """`/metrics`, `/ready`, `/live` and `/streams` of one gateway."""
    # Its own counters: what an operator mistypes is no refusal of a reader.
    application = web.Application(middlewares=[error_middleware(Metrics())])
    application.router.add_get("/metrics", _metrics(sources))
    application.router.add_get("/ready", _ready(sources))
    application.router.add_get("/live", _live(sources))
    application.router.add_get("/streams", streams_handler(sources.hub))
    add_nothing_here(application)
    return application


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
