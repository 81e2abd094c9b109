"""Tries every right that a gateway needs in Redis, and reports the refused ones.

First each command alone, on one key that expires, so that all missing rights are known at once and
no script stops halfway. Then the subscription, and the scripts on the keys that they are made for.
What was written is removed, with only the gateway's own rights.
"""

import asyncio
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import groupby

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, ResponseError

from gateway.bus import scripts
from gateway.bus.cluster import Cluster
from gateway.bus.revocations import MEMBERS_KEY, VERSION_KEY
from gateway.bus.stream_counts import stream_counts_call, stream_counts_key
from gateway.contract import keys
from gateway.contract.acl import GATEWAY, OWN_CHANNELS, WITHOUT
from gateway.contract.index import Note, index_call
from gateway.contract.registration import Registration
from gateway.contract.scripts import (
    BareMessage,
    Call,
    HistoryLimits,
    publish_call,
    read_call,
    record_call,
)
from gateway.tools.check.finding import Finding, Topic

_TOPIC = Topic("Redis rights")
_WHOLE = "sse-gateway check --acl prints the whole line"
_PROBE_MS = 60_000
"""Expiry of what a check writes, in case the check is killed."""

_LIMITS = HistoryLimits(open_ttl_ms=_PROBE_MS, history_ttl_ms=_PROBE_MS)

# `{key}` holds a string, so commands of other types write nothing: Redis checks the right first,
# then the type of the key (WRONGTYPE).
TRIALS: dict[str, tuple[str | int, ...]] = {
    "SET": ("{key}", "probe", "PX", _PROBE_MS),
    "GET": ("{key}",),
    "EXISTS": ("{key}",),
    "PEXPIRE": ("{key}", _PROBE_MS),
    "PTTL": ("{key}",),
    "RENAME": ("{key}", "{key}"),
    "HSET": ("{key}", "f", "v"),
    "HSETNX": ("{key}", "f", "v"),
    "HGET": ("{key}", "f"),
    "HMGET": ("{key}", "f"),
    "HEXISTS": ("{key}", "f"),
    "HDEL": ("{key}", "f"),
    "HGETALL": ("{key}",),
    "RPUSH": ("{key}", "v"),
    "LPOP": ("{key}",),
    "LLEN": ("{key}",),
    "XADD": ("{key}", "*", "f", "v"),
    "XRANGE": ("{key}", "-", "+", "COUNT", 1),
    "XREVRANGE": ("{key}", "+", "-", "COUNT", 1),
    "XTRIM": ("{key}", "MAXLEN", 1),
    "XLEN": ("{key}",),
    "ZSCAN": ("{key}", 0),
    "ZADD": ("{key}", 0, "m"),
    "ZSCORE": ("{key}", "m"),
    "ZREM": ("{key}", "m"),
    "ZCARD": ("{key}",),
    "ZRANGE": ("{key}", 0, 0),
    "TIME": (),
    "INFO": ("replication",),
    "EVAL": ("return 1", 0),
    "EVALSHA": ("0" * 40, 0),
    "PUBLISH": ("{channel}", "{{}}"),
    "GETDEL": ("{key}",),
}
"""The arguments that each command is tried with; what subscribes needs another connection."""

CLUSTER_TRIALS: dict[str, tuple[str | int, ...]] = {
    "CLUSTER|SLOTS": (),
    "CLUSTER|NODES": (),
    "ASKING": (),
    "HRANDFIELD": ("{key}", 1),
    "SPUBLISH": ("{own}", "{{}}"),
}

_KEYS = 1000
"""Random keys, so that each node has one."""


async def check_rights(redis: Redis, channel_prefix: str) -> list[Finding]:
    """Findings about the rights of the user that *redis* logs in as.

    Raises what redis-py does if Redis is away.
    """
    probe = f"{keys.PROBE_PREFIX}{secrets.token_hex(8)}"
    channel = keys.canary_channel(channel_prefix, probe)
    pattern = keys.channel_pattern(channel_prefix)
    # No execution has this channel.
    own = keys.live_channel(f"!{probe}")
    refusals: dict[str, str] = {}
    for node, key in await _places(redis):
        trials = TRIALS if node is redis else TRIALS | CLUSTER_TRIALS
        # Of the same slot as the key.
        here = f"{key.partition('}')[0]}}}:live"
        refusals |= await _try_commands(node, key, channel, here, trials)
        refusals |= await _try_subscription(node, "PSUBSCRIBE", pattern)
        refusals |= await _try_subscription(node, "SUBSCRIBE", own, "UNSUBSCRIBE")
        if node is not redis:
            refusals |= await _try_subscription(node, "SSUBSCRIBE", here, "SUNSUBSCRIBE")
    if not refusals.keys() - WITHOUT.keys():
        refusals |= await _try_scripts(redis, probe, channel)
    if not refusals:
        return [_TOPIC.ok("Redis allows the gateway's user all that a gateway does.")]
    user = str(redis.get_connection_kwargs().get("username") or "default")
    return _describe(refusals, channel_prefix, user)


async def _places(redis: Redis) -> list[tuple[Redis, str]]:
    """Where the commands are tried, each with a key there: each node has users of its own."""
    if not isinstance(redis, Cluster):
        return [(redis, _probe_key())]
    await redis.nodes.known()
    found = [
        (node.client, redis.nodes.first_at(node, (_probe_key() for _ in range(_KEYS))))
        for node in redis.primaries()
    ]
    return [(client, key) for client, key in found if key is not None]


def _probe_key() -> str:
    return keys.once_key(f"{keys.PROBE_PREFIX}{secrets.token_hex(8)}", "rights")


async def _try_commands(
    redis: Redis, key: str, channel: str, own: str, trials: Mapping[str, tuple[str | int, ...]]
) -> dict[str, str]:
    """Each refused command, with the error of Redis."""
    async with redis.pipeline(transaction=False) as pipeline:
        for command, template in trials.items():
            arguments = [
                one.format(key=key, channel=channel, own=own) if isinstance(one, str) else one
                for one in template
            ]
            pipeline.execute_command(*command.split("|"), *arguments)
        # If SET was refused, another command may have created the key.
        pipeline.execute_command("PEXPIRE", key, 0)
        answers = zip(trials, await pipeline.execute(raise_on_error=False), strict=False)
    return {name: str(one) for name, one in answers if isinstance(one, NoPermissionError)}


async def _try_subscription(redis: Redis, command: str, channel: str, *more: str) -> dict[str, str]:
    connection = redis.connection_pool.make_connection()
    try:
        await connection.connect()
        for name in (command, *more):
            try:
                await connection.send_command(name, channel)
                await connection.read_response()
            except NoPermissionError as refusal:
                return {name: str(refusal)}
    finally:
        await connection.disconnect(nowait=True)
    return {}


async def _try_scripts(redis: Redis, probe: str, channel: str) -> dict[str, str]:
    """Run what the gateway and publishers run, on keys of an execution that nobody else knows."""
    written = [
        *(make(probe) for make in (keys.events_key, keys.meta_key, keys.seen_key, keys.order_key)),
        keys.memory_key(probe),
        keys.once_key(probe, probe),
        keys.answer_key(probe, probe),
        keys.ticket_key(probe),
        stream_counts_key(probe),
        keys.list_order_key(probe),
        keys.list_about_key(probe),
    ]
    in_cluster = isinstance(redis, Cluster)
    work = [
        *(scripts.run(redis, call) for call in _calls(probe, channel, in_cluster)),
        _try_index(redis, probe),
        redis.set(keys.ticket_key(probe), "probe", px=_PROBE_MS),
        redis.getdel(keys.ticket_key(probe)),
        redis.get(VERSION_KEY),
        redis.zscan(MEMBERS_KEY),
    ]
    try:
        answers = await asyncio.gather(*work, return_exceptions=True)
    finally:
        await remove(redis, written)
    refusals = [one for one in answers if isinstance(one, BaseException)]
    for refusal in refusals:
        if not isinstance(refusal, NoPermissionError):
            raise refusal
    return {"a script": str(refusals[0])} if refusals else {}


def _calls(probe: str, channel: str, in_cluster: bool) -> list[Call]:
    message = BareMessage(b'{"type":"probe"}', b"probe", "")
    return [
        publish_call(
            probe,
            b'{"type":"probe"}',
            # A canary's channel: no gateway takes the message for an event.
            channel=channel,
            idempotency_key=probe,
            terminal_type="",
            limits=_LIMITS,
            in_cluster=in_cluster,
        ),
        record_call(
            probe,
            [message],
            instance=probe,
            since=int(time.time() * 1_000_000),
            batch=1,
            limits=_LIMITS,
            in_cluster=in_cluster,
        ),
        read_call(probe, "", 1024),
        Registration(probe, probe).call(_LIMITS, in_cluster=in_cluster),
        stream_counts_call(probe, instance=probe, streams=0, wanted=1, limit=1, lease_ms=1000),
    ]


async def _try_index(redis: Redis, probe: str) -> None:
    """Without the right to it there is a warning already."""
    with suppress(ResponseError):
        await scripts.run(redis, index_call(probe, [Note("registered", probe)], limits=_LIMITS))


async def remove(redis: Redis, written: Sequence[str]) -> None:
    """Remove the keys *written*, by an expiry of 0: a gateway has no right to DEL."""
    async with redis.pipeline(transaction=False) as pipeline:
        for key in written:
            pipeline.pexpire(key, 0)
        await pipeline.execute(raise_on_error=False)


_COMMAND_REFUSED = re.compile(r"run (?:the '|this command)")


def _consequence(command: str) -> str:
    return WITHOUT[command]


def _describe(refusals: dict[str, str], channel_prefix: str, user: str) -> list[Finding]:
    """One finding for each kind of right: the commands, the keys, the channels."""
    commands: list[str] = []
    optional: list[str] = []
    kinds: dict[str, str] = {}
    for name, error in refusals.items():
        if _COMMAND_REFUSED.search(error):
            (optional if name in WITHOUT else commands).append(name)
        elif name in ("SUBSCRIBE", "SSUBSCRIBE", "SPUBLISH"):
            kinds["own channels"] = error
        else:
            kinds["channels" if "channel" in error else "keys"] = error
    found = []

    def add(topic: Callable[[str, str], Finding], what: str, grant: Sequence[str]) -> None:
        advice = f"Grant it: ACL SETUSER {user} {' '.join(grant)} ({_WHOLE})."
        found.append(topic(f"Redis refuses the user {user} {what}.", advice))

    if commands:
        add(_TOPIC.error, f"what the gateway calls: {', '.join(commands)}", _rights(commands))
    for consequence, some in groupby(sorted(optional, key=_consequence), _consequence):
        names = list(some)
        add(_TOPIC.warning, f"{', '.join(names)}, so {consequence}", _rights(names))
    if "keys" in kinds:
        patterns = [f"~{pattern}" for pattern in GATEWAY.keys]
        add(_TOPIC.error, f"keys that the gateway uses: {kinds['keys']}", patterns)
    if "channels" in kinds:
        pattern = keys.channel_pattern(channel_prefix)
        add(_TOPIC.error, f"the channels of executions, {pattern}", [f"&{pattern}"])
    if "own channels" in kinds:
        what = f"the executions' own channels, {OWN_CHANNELS}, so {WITHOUT['SUBSCRIBE']}"
        add(_TOPIC.warning, what, [f"&{OWN_CHANNELS}"])
    return found


def _rights(commands: Sequence[str]) -> list[str]:
    return [f"+{name.lower()}" for name in commands]
