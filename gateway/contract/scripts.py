"""The Lua scripts that keep history, and their arguments.

Any language may call them; the gateway and `gateway.publisher` use these builders. The scripts run
on Redis 6.2 and later and on Valkey. Nothing here talks to Redis.
"""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from gateway.contract import keys

META_TTL_AFTER_END_MS = 7 * 24 * 3600 * 1000
"""How long `meta` is kept after the end of an execution, so that late tabs learn of the end."""

ONCE_TTL_MS = 5 * 60 * 1000
"""How long an idempotency key is kept."""

UNREGISTERED_TTL_MS = 3600 * 1000
"""How long an execution that was not registered yet is kept, under ownership `registry`."""

FORMER_RUN_TTL_MS = 3600 * 1000
"""How long the history of a run is kept after its execution was restarted."""

_SEEN_TTL_MS = 3600 * 1000
_SEEN_REMEMBERED = 2000
"""Bare messages remembered for an execution: one instance is behind another by far less."""


@dataclass(frozen=True, slots=True)
class HistoryLimits:
    """What bounds an execution's history; times in milliseconds."""

    max_events: int = 1000
    max_bytes: int = 16 * 1024 * 1024
    open_ttl_ms: int = 30 * 24 * 3600 * 1000
    history_ttl_ms: int = 24 * 3600 * 1000

    def arguments(self) -> list[bytes | str | int]:
        """All of it, as `append.lua` takes it."""
        return [self.max_events, self.max_bytes, *self.ttls()]

    def ttls(self) -> list[bytes | str | int]:
        """How long an open execution, a history after the end, and then its `meta` are kept."""
        # `meta` outlives the history: else the end would be forgotten while events are kept.
        meta_ttl = max(META_TTL_AFTER_END_MS, self.history_ttl_ms * 2)
        return [self.open_ttl_ms, self.history_ttl_ms, meta_ttl]


class Script:
    """A Lua script, and its digest for EVALSHA."""

    def __init__(self, *names: str) -> None:
        here = Path(__file__)
        self.text = "\n".join(here.with_name(name).read_text(encoding="utf-8") for name in names)
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


PUBLISH = Script("append.lua", "restart.lua", "publish.lua")
RECORD = Script("append.lua", "restart.lua", "record.lua")
READ = Script("read.lua")
FIRST = Script("first.lua")
DROPPED = Script("dropped.lua")


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
    kind: str = "",
    moment: str = "",
    began: int | None = None,
    restart_ttl_ms: int | None = None,
) -> Call:
    """Append and publish; the answer is the id. *terminal_type* is empty unless it ends the run.
    *kind*, *moment*: see `gateway.contract.meta`. *began*: an epoch in which its publisher has
    published before; it is refused with RESTARTED if the run was restarted since. *restart_ttl_ms*,
    where given: the event restarts the run, and the history of the former one is kept so long.

    *payload* is a JSON object without `id` or leading white space.
    """
    names = [*_run_keys(execution_id), keys.once_key(execution_id, idempotency_key)]
    if restart_ttl_ms is not None:
        names += _former_keys(execution_id)
    arguments: list[bytes | str | int] = [
        *limits.arguments(), channel, ONCE_TTL_MS, terminal_type, payload, kind, moment,
        "" if began is None else began, restart_ttl_ms or 0,
    ]  # fmt: skip
    return Call(PUBLISH, names, arguments)


def _run_keys(execution_id: str, run: str = "") -> list[str]:
    return [keys.events_key(execution_id, run), keys.meta_key(execution_id, run)]


def _former_keys(execution_id: str) -> list[str]:
    return _run_keys(execution_id, secrets.token_hex(8))


class BareMessage(NamedTuple):
    """A message to record: what goes into history, and the digest of what was published.
    *kind*, *moment*: see `gateway.contract.meta`."""

    payload: bytes
    digest: bytes
    terminal_type: str
    kind: str = ""
    moment: str = ""
    gets_timestamp: int = 0
    """1 for an event without timestamp: it gets the time at which it is recorded."""
    restarts: bool = False
    """It restarts the run."""


def record_call(
    execution_id: str,
    messages: Sequence[BareMessage],
    *,
    instance: str,
    since: int,
    batch: int,
    limits: HistoryLimits,
    unregistered_ttl_ms: int = 0,
    seen_ttl_ms: int = _SEEN_TTL_MS,
) -> Call:
    """Record bare messages; the answer has one id each, and after a space the timestamp that it
    was given, if any; empty for a message that is too old.

    *instance* names one subscription session, *since* is the Redis TIME in microseconds taken
    before it began. *batch* is the number of this call; a repeated call has the same.
    *unregistered_ttl_ms*: how long an execution without an organization is kept, in milliseconds;
    0 for as long as any other. *seen_ttl_ms*: how long what was recorded is remembered.
    """
    arguments: list[bytes | str | int] = [
        *limits.arguments(), instance, since, batch, seen_ttl_ms, _SEEN_REMEMBERED,
        unregistered_ttl_ms, FORMER_RUN_TTL_MS,
    ]  # fmt: skip
    names = [
        *_run_keys(execution_id), keys.seen_key(execution_id), keys.order_key(execution_id),
        keys.answer_key(execution_id, instance),
    ]  # fmt: skip
    for message in messages:
        arguments += message[:-1]
        arguments.append(len(names) + 1 if message.restarts else "")
        if message.restarts:
            names += _former_keys(execution_id)
    return Call(RECORD, names, arguments)


def read_call(
    execution_id: str,
    cursor: str,
    max_bytes: int,
    *,
    only_valid: bool = False,
    organization_id: str = "",
    run: str = "",
) -> Call:
    """Read a page after *cursor* (empty for none); see `read.lua` for the answer.

    *only_valid*: no events where they would not follow the cursor. *organization_id*: nothing where
    the execution is not registered for this organization; empty for any. *run*: the name of a
    former run.
    """
    arguments: list[bytes | str | int] = [cursor, max_bytes, int(only_valid), organization_id]
    return Call(READ, _run_keys(execution_id, run), arguments)


def first_call(execution_id: str) -> Call:
    """Ask for the first id that history keeps; empty where it keeps nothing."""
    return Call(FIRST, [keys.events_key(execution_id)], [])


def dropped_call(execution_id: str, messages: int, reason: str) -> Call:
    """Note in `meta` that so many *messages* were dropped, and why the last one was."""
    return Call(DROPPED, [keys.meta_key(execution_id)], [messages, reason])
