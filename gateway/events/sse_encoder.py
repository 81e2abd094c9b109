"""The frames that the gateway itself sends (CONTRACT.md): none of them has an id.

Every frame carries a `data` line holding a JSON object, since an EventSource never dispatches an
event without data. It does not encode the producers' events: see `gateway.events.envelope`.
"""

import random
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum

import orjson

from gateway.events.ids import EventId


class CloseReason(StrEnum):
    """The `reason` of `stream:closing`."""

    DRAIN = "drain"
    TOKEN_EXPIRED = "token_expired"  # noqa: S105 - a word of the contract, no secret
    REVOKED = "revoked"
    SLOW_READER = "slow_reader"
    HISTORY_LOST = "history_lost"
    MAX_AGE = "max_age"
    ADMIN = "admin"
    UNAVAILABLE = "unavailable"
    LIMIT = "limit"


RETRY_MS = (1000, 3000)
"""Range of every `retry:` in milliseconds: tabs that were closed together come back apart."""


def jittered_retry_ms() -> int:
    """Milliseconds after which a client should reconnect (CONTRACT.md)."""
    return random.randint(*RETRY_MS)  # noqa: S311 - spreads load, guards nothing


def frame(event: str, data: Mapping[str, object], retry_ms: int | None = None) -> bytes:
    """One SSE frame; *event* is one of the gateway's own names.

    *retry_ms* tells an EventSource how many milliseconds to wait before it reconnects.
    """
    retry = b"retry: %d\n" % retry_ms if retry_ms is not None else b""
    return b"%bevent: %b\ndata: %b\n\n" % (retry, event.encode(), orjson.dumps(data))


def connected(
    execution_id: str,
    retry_ms: int,
    heartbeat_seconds: float,
    last: EventId | None = None,
    status: str | None = None,
) -> bytes:
    """What every stream begins with.

    *heartbeat_seconds*: the longest silence of a connection that is well. *last*: up to this event
    the reader catches up; None where nothing has happened that it has not seen. *status* tells how
    an execution ended that has ended.
    """
    data: dict[str, object] = {"execution_id": execution_id, "heartbeat_seconds": heartbeat_seconds}
    if last is not None:
        data["last_event_id"] = str(last)
    if status is not None:
        data["status"] = status
    return frame("connected", data, retry_ms)


def heartbeat(now: datetime | None = None) -> bytes:
    """A named event, because JavaScript cannot see comments."""
    return frame("heartbeat", {"timestamp": _stamp(now or datetime.now(UTC))})


def closing(reason: CloseReason, retry_ms: int) -> bytes:
    """Told before the gateway ends a stream that has not reached its end; *retry_ms* jittered."""
    return frame("stream:closing", {"reason": reason, "retry_ms": retry_ms}, retry_ms)


def expiring(expires_at: float, now: float) -> bytes:
    """Told before the token expires, so that the page can get a new one and open a new stream.

    Both in seconds since the epoch; *expires_at* is near enough for a four-digit year.
    """
    data = {
        "expires_at": _stamp(datetime.fromtimestamp(expires_at, UTC)),
        "expires_in_seconds": max(0, round(expires_at - now)),
    }
    return frame("stream:expiring", data)


def gap(first: EventId, last: EventId) -> bytes:
    """Events *first* to *last*, both of one life, were asked for and are no longer kept."""
    missed = last.seq - first.seq + 1
    return frame("stream:gap", {"from": str(first), "to": str(last), "missed": missed})


def reset(reason: CloseReason) -> bytes:
    """The cursor belongs to another life of the history; the whole kept history follows."""
    return frame("stream:reset", {"reason": reason})


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
