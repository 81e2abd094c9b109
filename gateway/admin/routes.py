"""The admin application: its paths, and what each answers. `gateway.server` listens for it."""

import asyncio
import re
from collections.abc import Iterator, Sequence, Set
from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client.exposition import choose_encoder

from gateway.admin.exposition import Sources, create_registry
from gateway.errors import Forbidden, MalformedRequest
from gateway.fanout.hub import Hub
from gateway.fanout.subscriber import Subscriber
from gateway.http.responses import (
    add_common_headers,
    add_fallback,
    error_middleware,
    json_response,
)
from gateway.metrics import Metrics
from gateway.settings import variable

DEFAULT_LIMIT = 1000
MAX_LIMIT = 100_000
"""Most streams in one answer: it is made in one go, about 5 µs each."""

_FILTERS = ("execution", "organization", "subject")


def streams_handler(hub: Hub) -> Handler:
    """The streams of *hub* as JSON, oldest first; `?execution=`, `?organization=` and `?subject=`
    choose, `?limit=` says how many are shown."""

    async def handle(request: web.Request) -> web.Response:
        unknown = request.query.keys() - {*_FILTERS, "limit"}
        if unknown:
            raise MalformedRequest(
                f"Unknown parameter {min(unknown)!r}: use execution, organization, subject, limit."
            )
        limit = _limit(request.query.get("limit"))
        matching = sorted(_matching(hub, request), key=lambda one: one.opened_at)
        now = asyncio.get_running_loop().time()
        return json_response(
            {
                "open": len(hub),
                "matching": len(matching),
                "streams": [_describe(one, now) for one in matching[:limit]],
            }
        )

    return handle


def _limit(given: str | None) -> int:
    if given is None:
        return DEFAULT_LIMIT
    # Python reads no number of thousands of digits.
    if re.fullmatch(r"[0-9]{1,6}", given) is None or int(given) > MAX_LIMIT:
        raise MalformedRequest(f"limit is a number from 0 to {MAX_LIMIT}.")
    return int(given)


def _matching(hub: Hub, request: web.Request) -> Iterator[Subscriber]:
    wanted = [request.query.get(name) for name in _FILTERS]
    for subscriber in hub:
        principal = subscriber.principal
        found = (principal.execution_id, principal.organization_id, principal.identity.subject)
        if all(want in (None, is_) for want, is_ in zip(wanted, found, strict=True)):
            yield subscriber


def _describe(subscriber: Subscriber, now: float) -> dict[str, object]:
    """Ages and lags in seconds, sizes in bytes."""
    events, size = subscriber.waiting
    return {
        "execution_id": subscriber.execution_id,
        "organization_id": subscriber.principal.organization_id,
        "subject": subscriber.principal.identity.subject,
        "age_seconds": round(now - subscriber.opened_at, 3),
        "state": _state(subscriber),
        "last_event_id": None if subscriber.position is None else str(subscriber.position),
        "events": subscriber.delivered,
        "bytes": subscriber.written,
        "queue_events": events,
        "queue_bytes": size,
        "lag_seconds": round(subscriber.lag(now), 3),
        "silent_seconds": round(now - subscriber.last_activity, 3),
    }


def _state(subscriber: Subscriber) -> str:
    """`live`, `held` while it catches up from history, `opening`, or why it is ending."""
    if subscriber.ended is not None:
        return str(subscriber.ended)
    if not subscriber.attached:
        return "opening"
    return "held" if subscriber.held else "live"


def create_admin(sources: Sources, hosts: Sequence[str]) -> web.Application:
    """`/metrics`, `/ready`, `/live` and `/streams` of one gateway, also by the names *hosts*."""
    # Its own counters: what an operator mistypes is no refusal of a reader.
    application = web.Application(middlewares=[error_middleware(Metrics()), _only_for(hosts)])
    application.on_response_prepare.append(_finish_headers)
    application.router.add_get("/metrics", _metrics(sources))
    application.router.add_get("/ready", _ready(sources))
    application.router.add_get("/live", _live(sources))
    application.router.add_get("/streams", streams_handler(sources.hub))
    add_fallback(application)
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
        return _routes_state("ready", sources.not_ready())

    return handle


def _live(sources: Sources) -> Handler:
    """200 while nothing is wrong that only a restart can mend: Redis being away is not."""

    async def handle(_: web.Request) -> web.Response:
        stuck = sources.health.stuck()
        return _routes_state("live", [stuck] if stuck else [])

    return handle


def _routes_state(name: str, reasons: list[str]) -> web.Response:
    if reasons:
        return json_response({"status": f"not {name}", "reasons": reasons}, 503)
    return json_response({"status": name})
