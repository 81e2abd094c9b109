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

TOMBSTONE_MS = 24 * 3600 * 1000
"""For how long what is still published of a forgotten execution is refused."""

_OWN_RETRY_MS = 30 * 1000
"""Longer than the client of Redis tries one command."""

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


OWN_KEYS = "own_keys.lua"
WRITES = (OWN_KEYS, "append.lua", "restart.lua", "memory.lua")
"""The parts of each script that appends, before its own."""

PUBLISH = Script(*WRITES, "publish.lua")
RECORD = Script(*WRITES, "record.lua")
PUBLISH_MANY = Script(*WRITES, "publish_many.lua")
READ = Script(OWN_KEYS, "read.lua")
DROPPED = Script("dropped.lua")
FORGET = Script(OWN_KEYS, "forget.lua")


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
    former_run: str = "",
    live: keys.LiveCommand = "",
    in_cluster: bool = False,
) -> Call:
    """Append and publish; the answer is the id. *terminal_type* is empty unless it ends the run.
    *kind*, *moment*: see `gateway.contract.meta`. *began*: an epoch in which its publisher has
    published before; it is refused with RESTARTED if the run was restarted since. *restart_ttl_ms*,
    where given: the event restarts the run, and the history of the former one is kept so long, as
    *former_run* (by default a random name). *channel*, *live*: see `keys.Channels`.
    *in_cluster*: on a cluster what is remembered has no key of its own, see `own_keys.lua`.

    *payload* is a JSON object without `id` or leading white space.
    """
    once = keys.once_key(execution_id, idempotency_key)
    remembered_in, field = _remembered(execution_id, once, in_cluster=in_cluster)
    names = [*_run_keys(execution_id), remembered_in]
    if restart_ttl_ms is not None:
        names += _former_keys(execution_id, former_run)
    arguments: list[bytes | str | int] = [
        *limits.arguments(), channel, ONCE_TTL_MS, terminal_type, payload, kind, moment,
        "" if began is None else began, restart_ttl_ms or 0, live, field,
    ]  # fmt: skip
    return Call(PUBLISH, names, arguments)


class NewEvent(NamedTuple):
    """An event to publish. *payload*: a JSON object without `id`; *terminal_type*: as for
    `publish_call`; *kind*, *moment*: see `gateway.contract.meta`."""

    payload: bytes
    terminal_type: str
    kind: str
    moment: str


def publish_many_call(
    execution_id: str,
    events: Sequence[NewEvent],
    *,
    channel: str,
    organization_id: str,
    idempotency_key: str | None,
    digest: str,
    limits: HistoryLimits,
    began: int | None = None,
    restart_ttl_ms: int | None = None,
    live: keys.LiveCommand = "",
    in_cluster: bool = False,
) -> Call:
    """Append and publish all *events* of one call, or none; see `publish_many.lua` for the answer.
    *digest*, in hexadecimal, is of all that the call says; the rest: see `publish_call`.

    Without a key the call is remembered for a moment all the same: the client of Redis sends a
    command again when its connection ends.
    """
    key, ttl_ms = idempotency_key, ONCE_TTL_MS
    if key is None:
        # No key of a producer has a character beyond ASCII.
        key, ttl_ms = "\u00b7" + secrets.token_hex(8), _OWN_RETRY_MS
    call = keys.call_key(execution_id, key)
    remembered_in, field = _remembered(execution_id, call, in_cluster=in_cluster)
    names = [*_run_keys(execution_id), remembered_in]
    if restart_ttl_ms is not None:
        names += _former_keys(execution_id)
    arguments: list[bytes | str | int] = [
        *limits.arguments(), channel, organization_id, ttl_ms, digest,
        "" if began is None else began, restart_ttl_ms or 0, live, field,
    ]  # fmt: skip
    for event in events:
        arguments += event
    return Call(PUBLISH_MANY, names, arguments)


def _run_keys(execution_id: str, run: str = "") -> list[str]:
    return [keys.events_key(execution_id, run), keys.meta_key(execution_id, run)]


def _remembered(execution_id: str, key: str, *, in_cluster: bool) -> tuple[str, str]:
    """The key that holds what *key* does on a single Redis, and its field there; see
    `own_keys.lua`."""
    if not in_cluster:
        return key, ""
    memory = keys.memory_key(execution_id)
    return memory, key[len(memory) - len("memory") :]


def _former_keys(execution_id: str, run: str = "") -> list[str]:
    return _run_keys(execution_id, run or secrets.token_hex(8))


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
    live: keys.LiveCommand = "",
    in_cluster: bool = False,
) -> Call:
    """Record bare messages; the answer has one id each, and after a space the timestamp that it
    was given, if any; empty for a message that is too old.

    *instance* names one subscription session, *since* is the Redis TIME in microseconds taken
    before it began. *batch* is the number of this call; a repeated call has the same.
    *unregistered_ttl_ms*: how long an execution without an organization is kept, in milliseconds;
    0 for as long as any other. *seen_ttl_ms*: how long what was recorded is remembered. *live*:
    what is new is published on the execution's own channel, see `keys.Channels`. *in_cluster*: see
    `publish_call`.
    """
    arguments: list[bytes | str | int] = [
        *limits.arguments(), instance, since, batch, seen_ttl_ms, _SEEN_REMEMBERED,
        unregistered_ttl_ms, FORMER_RUN_TTL_MS, live,
    ]  # fmt: skip
    remembered_in = [
        keys.seen_key(execution_id), keys.order_key(execution_id),
        keys.answer_key(execution_id, instance),
    ]  # fmt: skip
    if in_cluster:
        remembered_in = [keys.memory_key(execution_id)] * 3
    names = [*_run_keys(execution_id), *remembered_in]
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

    *only_valid*: no events where they would not follow the cursor, only the first id that is kept.
    *organization_id*: nothing where the execution is not registered for this organization; empty
    for any. *run*: the name of a former run.
    """
    arguments: list[bytes | str | int] = [cursor, max_bytes, int(only_valid), organization_id]
    return Call(READ, _run_keys(execution_id, run), arguments)


def dropped_call(execution_id: str, messages: int, reason: str) -> Call:
    """Note in `meta` that so many *messages* were dropped, and why the last one was."""
    return Call(DROPPED, [keys.meta_key(execution_id)], [messages, reason])


def forget_call(execution_id: str, channel: str, live: keys.LiveCommand = "PUBLISH") -> Call:
    """Delete the history and leave a tombstone in `meta`; streams learn of it on *channel*, and
    with the command *live* on the execution's own."""
    digest = hashlib.sha256(execution_id.encode()).hexdigest()
    return Call(FORGET, _run_keys(execution_id), [channel, digest, TOMBSTONE_MS, live])
