"""`GET /streams`: who watches what at this moment, and how far behind each reader is."""

import asyncio
import re
from collections.abc import Iterator

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.errors import MalformedRequest
from gateway.fanout.hub import Hub
from gateway.fanout.subscriber import Subscriber
from gateway.http.errors import json_response

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
