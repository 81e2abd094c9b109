"""The Lua scripts that keep history, and their arguments in one place.

Any language may call them; the gateway and `gateway.publisher` do so through these builders. They
run on Redis 6.2 and later and on Valkey. Nothing here talks to Redis.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import NamedTuple

from gateway.contract import keys

META_TTL_AFTER_END_MS = 7 * 24 * 3600 * 1000
"""How long `meta` remembers an execution that has ended, so that late tabs learn its end."""

ONCE_TTL_MS = 5 * 60 * 1000
"""How long an idempotency key is remembered."""

UNREGISTERED_TTL_MS = 3600 * 1000
"""How long an execution that was not registered yet is kept, under ownership `registry`."""

_SEEN_TTL_MS = 3600 * 1000
_SEEN_REMEMBERED = 2000
"""Bare messages an execution remembers: an instance lags behind another by far less."""


@dataclass(frozen=True, slots=True)
class HistoryLimits:
    """What bounds an execution's history; times in milliseconds."""

    max_events: int = 1000
    max_bytes: int = 16 * 1024 * 1024
    open_ttl_ms: int = 30 * 24 * 3600 * 1000
    history_ttl_ms: int = 24 * 3600 * 1000

    def arguments(self) -> list[bytes | str | int]:
        """What bounds a history, as `append.lua` takes it."""
        return [self.max_events, self.max_bytes, *self.ttls()]

    def ttls(self) -> list[bytes | str | int]:
        """How long an open execution, a history after the end, and then its `meta` are kept."""
        # `meta` outlives the history, else its end would be forgotten while events are kept.
        meta_ttl = max(META_TTL_AFTER_END_MS, self.history_ttl_ms * 2)
        return [self.open_ttl_ms, self.history_ttl_ms, meta_ttl]


class Script:
    """A Lua script and the digest by which a Redis that has seen it knows it."""

    def __init__(self, *names: str) -> None:
        room = files("gateway.contract")
        self.text = "\n".join(room.joinpath(name).read_text(encoding="utf-8") for name in names)
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


PUBLISH = Script("append.lua", "publish.lua")
RECORD = Script("append.lua", "record.lua")
READ = Script("read.lua")
FIRST = Script("first.lua")


class Call(NamedTuple):
    """One call of a script, ready to be sent."""

    script: Script
    keys: list[str]
    arguments: list[bytes | str | int]


def publish_call(
    execution_id: str,
    payload: bytes,
    *,
    channel: str,
    idempotency_key: str,
    terminal_type: str,
    limits: HistoryLimits,
) -> Call:
    """Append and publish; answers with the id. *terminal_type* is empty unless it ends the run.

    *payload* is a JSON object without `id`, beginning with its brace.
    """
    return Call(
        PUBLISH,
        [
            keys.events_key(execution_id),
            keys.meta_key(execution_id),
            keys.once_key(execution_id, idempotency_key),
        ],
        [*limits.arguments(), channel, ONCE_TTL_MS, terminal_type, payload],
    )


class BareMessage(NamedTuple):
    """A message to record: what goes into history, and the digest of what was published."""

    payload: bytes
    digest: bytes
    terminal_type: str


def record_call(
    execution_id: str,
    messages: Sequence[BareMessage],
    *,
    instance: str,
    since: int,
    batch: int,
    limits: HistoryLimits,
    unregistered_ttl_ms: int = 0,
) -> Call:
    """Record bare messages; answers with one id each, empty for one too old to tell.

    *instance* names one life of one subscription, *since* is the Redis TIME in microseconds taken
    before it, *batch* the number that a repeated call repeats. *unregistered_ttl_ms*: how long what
    no organization is registered for is kept, in milliseconds; 0 for as long as any other.
    """
    arguments: list[bytes | str | int] = [
        *limits.arguments(), instance, since, batch, _SEEN_TTL_MS, _SEEN_REMEMBERED,
        unregistered_ttl_ms,
    ]  # fmt: skip
    for message in messages:
        arguments += message
    return Call(
        RECORD,
        [
            keys.events_key(execution_id),
            keys.meta_key(execution_id),
            keys.seen_key(execution_id),
            keys.order_key(execution_id),
            keys.answer_key(execution_id, instance),
        ],
        arguments,
    )


def read_call(execution_id: str, cursor: str, max_bytes: int, *, only_valid: bool = False) -> Call:
    """Read a page after *cursor* (empty for none); see `read.lua` for the answer.

    *only_valid*: without the events, where they do not follow the cursor.
    """
    return Call(
        READ,
        [keys.events_key(execution_id), keys.meta_key(execution_id)],
        [cursor, max_bytes, int(only_valid)],
    )


def first_call(execution_id: str) -> Call:
    """Ask for the first id that history keeps; empty where it keeps nothing."""
    return Call(FIRST, [keys.events_key(execution_id)], [])
