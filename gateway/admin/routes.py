"""The admin application, for operators: its paths and answers."""

import asyncio
import re
from collections.abc import Callable, Iterator, Sequence, Set
from importlib import import_module
from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from gateway.admin.sources import Sources
from gateway.bus.drops import Drops
from gateway.errors import Forbidden, MalformedRequest
from gateway.fanout.hub import Hub
from gateway.fanout.stream import Stream
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
"""Most streams in one answer: it is built without a pause, about 5 µs each."""

_MOST_DROPPED = 100
"""Most executions with dropped messages in one answer."""

_FILTERS = ("execution", "organization", "subject")


def streams_handler(hub: Hub, drops: Drops) -> Handler:
    """The streams of *hub* as JSON, oldest first; `?execution=`, `?organization=` and `?subject=`
    filter them, `?limit=` says how many are shown. With the executions that had messages dropped,
    the latest ones first."""

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
                "dropped": [
                    {"execution_id": name, "messages": one.messages, "reason": one.reason}
                    for name, one in list(drops.executions.items())[: -_MOST_DROPPED - 1 : -1]
                ],
            }
        )

    return handle


def _limit(given: str | None) -> int:
    if given is None:
        return DEFAULT_LIMIT
    # Python refuses to parse a number of thousands of digits.
    if re.fullmatch(r"[0-9]{1,6}", given) is None or int(given) > MAX_LIMIT:
        raise MalformedRequest(f"The limit is not valid: use a number from 0 to {MAX_LIMIT}.")
    return int(given)


def _matching(hub: Hub, request: web.Request) -> Iterator[Stream]:
    wanted = [request.query.get(name) for name in _FILTERS]
    for subscriber in hub:
        principal = subscriber.principal
        found = (
            subscriber.execution_ids,
            (principal.organization_id,),
            (principal.identity.subject,),
        )
        if all(want is None or want in is_ for want, is_ in zip(wanted, found, strict=True)):
            yield subscriber


def _describe(subscriber: Stream, now: float) -> dict[str, object]:
    """Ages and lags in seconds, sizes in bytes. The state is `opening`, `catching_up`
    from history, `live`, or why it is ending."""
    shown = subscriber.snapshot(now)
    names = list(subscriber.execution_ids)
    of_one = isinstance(subscriber, Subscriber)
    return {
        **({"execution_id": names[0]} if of_one else {"execution_ids": names}),
        "organization_id": subscriber.principal.organization_id,
        "subject": subscriber.principal.identity.subject,
        "age_seconds": round(now - subscriber.opened_at, 3),
        "state": shown.reason or shown.state.value,
        "last_event_id": None if shown.position is None else str(shown.position),
        "events": shown.events,
        "bytes": shown.bytes,
        "queue_events": shown.queue_events,
        "queue_bytes": shown.queue_bytes,
        "lag_seconds": round(shown.blocked, 3),
        "silent_seconds": round(shown.silent, 3),
    }


def create_admin(sources: Sources, hosts: Sequence[str]) -> web.Application:
    """`/metrics`, `/ready`, `/live` and `/streams` of one gateway, also by the names *hosts*."""
    # Counters of its own: an operator's mistyped request is not a refusal of a reader.
    application = web.Application(middlewares=[error_middleware(Metrics()), _only_for(hosts)])
    application.on_response_prepare.append(_add_headers)
    application.router.add_get("/metrics", _metrics(sources))
    # 503 for what another gateway could do better or none can do at all, and while it drains.
    ready = _state_handler("ready", sources.not_ready, sources.degraded)
    application.router.add_get("/ready", ready)
    # 503 only for what a restart repairs: that Redis is away is no such thing.
    application.router.add_get("/live", _state_handler("live", sources.not_live))
    application.router.add_get("/streams", streams_handler(sources.hub, sources.drops))
    add_fallback(application)
    return application


def _only_for(hosts: Sequence[str]) -> Middleware:
    """Refuses other host names: a page whose name was made to point at loopback (DNS rebinding) has
    the same origin as this application, and could read its answers."""
    allowed = {"localhost", *(host.lower() for host in hosts)}

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Host")
        # No page reaches a unix socket, and proxies use any name for it.
        if given is not None and not _is_unix(request) and not _is_ours(given, allowed):
            raise Forbidden(
                "This address accepts only localhost and IP addresses as the host: use one of "
                f"them, or add the host name to {variable('admin_hosts')}.",
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
        # An IP address cannot be made to point here, as a name can.
        ip_address(name)
    except ValueError:
        return False
    return True


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    add_common_headers(response)


def _metrics(sources: Sources) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        # The first import takes as long as thousands of deliveries, which go on meanwhile.
        exposition = await asyncio.to_thread(import_module, "gateway.admin.exposition")
        body, content_type = exposition.exposed(sources, request.headers.get("Accept", ""))
        headers = {"Content-Type": content_type, "Cache-Control": "no-store"}
        return web.Response(body=body, headers=headers)

    return handle


def _state_handler(
    name: str,
    reasons_against: Callable[[], list[str]],
    degraded: Callable[[], list[str]] = list,
) -> Handler:
    async def handle(_: web.Request) -> web.Response:
        reasons = reasons_against()
        if reasons:
            return json_response({"status": f"not {name}", "reasons": reasons}, 503)
        if reasons := degraded():
            return json_response({"status": "degraded", "reasons": reasons})
        return json_response({"status": name})

    return handle
