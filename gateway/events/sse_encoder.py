"""Encodes the gateway's own events (CONTRACT.md): none of them has an id of its own.

Every frame has a `data` line with a JSON object, since an EventSource dispatches no event without
data. Producers' events are encoded in `gateway.events.envelope`.
"""

import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Literal

import orjson

from gateway.events.ending import TerminalTypes
from gateway.events.fields import stamp
from gateway.events.ids import EventId
from gateway.events.set_cursor import SetCursor


class CloseReason(StrEnum):
    """The `reason` of `stream:closing`."""

    DRAIN = "drain"
    TOKEN_EXPIRED = "token_expired"  # noqa: S105 - not a secret
    REVOKED = "revoked"
    FORGOTTEN = "forgotten"
    SLOW_READER = "slow_reader"
    HISTORY_LOST = "history_lost"
    STORAGE_LOST = "storage_lost"
    MAX_AGE = "max_age"
    ADMIN = "admin"
    UNAVAILABLE = "unavailable"
    LIMIT = "limit"


ResetReason = Literal["history_lost", "restarted"]
"""The `reason` of `stream:reset`: `restarted` where the execution has begun a new run."""

RETRY_MS = (1000, 3000)
"""Range of every `retry:` in milliseconds: tabs that were closed together come back apart."""


def jittered_retry_ms() -> int:
    """Milliseconds after which a client should reconnect (CONTRACT.md)."""
    return random.randint(*RETRY_MS)  # noqa: S311 - spreads load, guards nothing


def frame(
    event: str,
    data: Mapping[str, object],
    retry_ms: int | None = None,
    cursor: EventId | SetCursor | None = None,
) -> bytes:
    """One SSE frame; *event* is one of the gateway's own names.

    *retry_ms* tells an EventSource how many milliseconds to wait before it reconnects. *cursor* is
    the reader's own, repeated as `id:`: some clients forget it on a connection without any id, and
    would get the whole history again.
    """
    retry = b"retry: %d\n" % retry_ms if retry_ms is not None else b""
    echo = b"id: %b\n" % str(cursor).encode() if cursor is not None else b""
    return b"%b%bevent: %b\ndata: %b\n\n" % (retry, echo, event.encode(), orjson.dumps(data))


def connected(
    execution_id: str,
    retry_ms: int,
    heartbeat_seconds: float,
    last: EventId | None = None,
    status: str | None = None,
    terminal_types: TerminalTypes | None = None,
    cursor: EventId | None = None,
) -> bytes:
    """The first event of every stream.

    *heartbeat_seconds*: the longest silence of a working connection. *last*: the reader catches up
    to this event; None where it has missed nothing. *status*: how the execution ended, if it has.
    *terminal_types*: what ends a run, where these are not the standard types. *cursor*: as in
    `frame`.
    """
    data: dict[str, object] = {"execution_id": execution_id, "heartbeat_seconds": heartbeat_seconds}
    if last is not None:
        data["last_event_id"] = str(last)
    if status is not None:
        data["status"] = status
    if terminal_types is not None:
        data["terminal_types"] = terminal_types
    return frame("connected", data, retry_ms, cursor)


def heartbeat(now: datetime | None = None, *, can_hear: bool = True) -> bytes:
    """A named event, because JavaScript cannot see comments.

    Unless the gateway *can_hear* Redis it says so, in the word of its health endpoint: else readers
    would take a stream for live on which nothing can arrive.
    """
    redis = {} if can_hear else {"redis": "disconnected"}
    return frame("heartbeat", {"timestamp": stamp(now or datetime.now(UTC)), **redis})


def connected_to_set(
    execution_ids: Sequence[str],
    retry_ms: int,
    heartbeat_seconds: float,
    terminal_types: TerminalTypes | None,
    cursor: SetCursor | None,
) -> bytes:
    """The first event of a stream of several executions; see `connected`."""
    data: dict[str, object] = {
        "execution_ids": execution_ids,
        "heartbeat_seconds": heartbeat_seconds,
    }
    if terminal_types is not None:
        data["terminal_types"] = terminal_types
    return frame("connected", data, retry_ms, cursor)


def absent(execution_id: str) -> bytes:
    """Of a set: the execution is unknown, or another organization's."""
    return frame("stream:absent", {"execution_id": execution_id})


def closing(reason: CloseReason, retry_ms: int, cursor: EventId | SetCursor | None = None) -> bytes:
    """Sent before the gateway closes a stream whose execution goes on; *cursor*: see `frame`."""
    return frame("stream:closing", {"reason": reason, "retry_ms": retry_ms}, retry_ms, cursor)


def expiring(expires_at: float, now: float) -> bytes:
    """Sent before the token expires, so that the page can get a new one and open a new stream.

    Both times are in seconds since the epoch; the year of *expires_at* has four digits.
    """
    data = {
        "expires_at": stamp(datetime.fromtimestamp(expires_at, UTC)),
        "expires_in_seconds": max(0, round(expires_at - now)),
    }
    return frame("stream:expiring", data)


def gap(*missing: tuple[EventId, EventId]) -> bytes:
    """Events are missing, of one epoch after the other from a first to a last one: they are no
    longer kept."""
    missed = sum(last.seq - first.seq + 1 for first, last in missing)
    first, last = missing[0][0], missing[-1][1]
    return frame("stream:gap", {"from": str(first), "to": str(last), "missed": missed})


def reset(reason: ResetReason = "history_lost") -> bytes:
    """The cursor belongs to another history; all that is kept follows."""
    return frame("stream:reset", {"reason": reason})
