"""Checks Redis: whether it can be reached, its version and settings, and its latency.

Nothing is changed there, except for the probes of `gateway.tools.check.acl`, which are removed.
"""

import asyncio
import statistics
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, ResponseError

from gateway.bus import presence
from gateway.bus.connection import create_redis
from gateway.bus.errors import REDIS_ERRORS, describe_redis_error
from gateway.settings import EMBEDDED_REDIS, Settings
from gateway.tools.check.acl import check_rights
from gateway.tools.check.finding import Finding, Topic

OLDEST = (6, 2)
ROUND_TRIPS = 20
SLOW_MS = 20.0
"""A larger median makes opening a stream, which takes a few round trips, noticeably slow."""
SMALLEST_BUFFER = 8 * 1024 * 1024
"""Bytes: the default soft limit of Redis, enough for a burst of small events."""
LARGEST_EVENTS = 8
"""The buffer of Redis for a subscription must hold so many events of the largest size."""

_TOPIC = Topic("Redis")

Info = Mapping[str, Any]


async def check_redis(settings: Settings) -> list[Finding]:
    """Findings about the Redis that *settings* name."""
    if settings.redis_url == EMBEDDED_REDIS:
        return [
            _TOPIC.note(
                "The gateway starts its own Valkey (embedded://): history ends with it.",
                "For production, name a Redis in REDIS_URL.",
            )
        ]
    findings: list[Finding] = []
    checks = (
        _check_latency,
        partial(_check_info, settings),
        partial(_check_output_buffer, settings.event_max_bytes),
        partial(_check_agreement, settings),
    )
    try:
        async with create_redis(settings.redis_url, max_connections=2) as redis:
            for check in checks:
                # `check_rights` finds the refusal too, and names the right.
                with suppress(NoPermissionError):
                    findings += await check(redis)
            findings += await check_rights(redis, settings.channel_prefix)
    except NoPermissionError:
        # Every new connection sends SELECT.
        findings.append(
            _TOPIC.error(
                "Redis does not let the gateway's user choose the database that REDIS_URL names.",
                "Grant it +select, or name database 0.",
            )
        )
    except REDIS_ERRORS as error:
        findings.append(_TOPIC.error(describe_redis_error(error), "Without it no stream opens."))
    return findings


async def _check_latency(redis: Redis) -> list[Finding]:
    """By TIME: the gateway's user may not send PING."""
    loop = asyncio.get_running_loop()
    await redis.time()
    times = []
    for _ in range(ROUND_TRIPS):
        start = loop.time()
        await redis.time()
        times.append((loop.time() - start) * 1000)
    median = statistics.median(times)
    sentence = f"A round trip takes {median:.1f} ms (median), {max(times):.1f} ms at most."
    if median > SLOW_MS:
        return [_TOPIC.warning(sentence, "Run Redis nearer to the gateway.")]
    return [_TOPIC.ok(sentence)]


async def _check_agreement(settings: Settings, redis: Redis) -> list[Finding]:
    """Whether the gateways that run agree with these settings."""
    try:
        written: Mapping[Any, Any] = await redis.hgetall(presence.KEY)
    except NoPermissionError:
        sentence = f"The gateway's user may not use {presence.KEY}: gateways with other settings, "
        sentence += "and a Redis that has lost its data, are not found."
        return [_TOPIC.warning(sentence, "Grant it the rights that --acl prints.")]
    now = time.time()
    found = []
    for name, document in written.items():
        at, theirs = presence.read_document(document)
        different = presence.differences(presence.agreed(settings), theirs)
        if different and abs(now - at) < presence.FRESH_SECONDS:
            found.append(
                _TOPIC.warning(
                    f"A gateway on this Redis ({name.decode(errors='replace')}) has other "
                    f"settings: {'; '.join(different)}.",
                    "Give all of them the same, and restart them: else events come twice, or "
                    "are trimmed too early.",
                )
            )
    return found


async def _check_info(settings: Settings, redis: Redis) -> list[Finding]:
    info: Info = await redis.info()
    return [
        _check_version(info),
        *_check_kind(info),
        _check_eviction(info),
        *_check_persistence(settings, info),
    ]


def _check_version(info: Info) -> Finding:
    version = str(info.get("redis_version", "0"))
    name = f"Redis {version}"
    if "valkey_version" in info:
        name = f"Valkey {info['valkey_version']}"
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        return _TOPIC.error(
            f"This is {name}, and the scripts need Redis 6.2 or later.", "Upgrade it."
        )
    return _TOPIC.ok(f"{name} is new enough.")


def _check_kind(info: Info) -> list[Finding]:
    """Whether this is a master, outside of a cluster."""
    found = []
    if info.get("redis_mode") == "cluster":
        found.append(
            _TOPIC.error(
                "This Redis is a node of a cluster, which the gateway does not support.",
                "Name a single Redis, or one with Sentinels.",
            )
        )
    if info.get("role") == "slave":
        found.append(
            _TOPIC.error(
                "This Redis is a replica, which takes no writes.",
                "Name the master in REDIS_URL, or the Sentinels that know it.",
            )
        )
    elif not info.get("connected_slaves"):
        found.append(
            _TOPIC.note(
                "This Redis has no replica: while it is down, no event arrives.",
                "With a replica and Sentinels, a failover takes seconds.",
            )
        )
    return found


def _check_eviction(info: Info) -> Finding:
    policy, memory = str(info.get("maxmemory_policy", "")), info.get("maxmemory")
    remedy = "Set maxmemory-policy noeviction, in a Redis that no cache shares."
    if policy.startswith("allkeys-"):
        return _TOPIC.error(
            f"maxmemory-policy is {policy}: Redis evicts histories, registrations and revocations "
            "when memory is short.",
            remedy,
        )
    if policy.startswith("volatile-"):
        return _TOPIC.warning(
            f"maxmemory-policy is {policy}: all keys of the gateway have an expiry, so Redis may "
            "evict them when memory is short.",
            remedy,
        )
    if not memory:
        return _TOPIC.note(
            "Redis evicts nothing (noeviction), and its memory has no limit (maxmemory 0).",
            "Set maxmemory below the memory of the machine, so that Redis refuses writes in time.",
        )
    return _TOPIC.ok("Redis evicts nothing when memory is short (noeviction).")


def _check_persistence(settings: Settings, info: Info) -> list[Finding]:
    """Whether the data survives a restart of Redis."""
    found = []
    if info.get("rdb_last_bgsave_status") == "err":
        found.append(
            _TOPIC.warning(
                "Redis could not save its last snapshot; it then usually refuses writes (MISCONF).",
                "See its log: the disk is full, or its directory is not writable.",
            )
        )
    if not info.get("aof_enabled"):
        # Without its registration an execution is unknown, and its streams end.
        is_registry = settings.ownership == "registry"
        finding = _TOPIC.warning if is_registry else _TOPIC.note
        found.append(
            finding(
                "Redis writes no append-only file: a restart loses everything since the last "
                "snapshot, registrations and revocations too.",
                "Set appendonly yes.",
            )
        )
    return found


async def _check_output_buffer(event_max_bytes: int, redis: Redis) -> list[Finding]:
    name = "client-output-buffer-limit"
    try:
        answer = await redis.config_get(name, "proto-max-bulk-len")
    except ResponseError:
        # NOPERM for the gateway's user, or a hosted Redis without CONFIG.
        return [
            _TOPIC.note(
                f"{name} cannot be read with the gateway's rights, which is intended.",
                f"As an administrator, check that it is {_limit(event_max_bytes)} or more: "
                f"CONFIG GET {name}",
            )
        ]
    # `normal 0 0 0 slave … pubsub <hard> <soft> <seconds>`
    hard, soft, *_ = map(int, str(answer[name]).partition("pubsub ")[2].split())
    largest = int(answer.get("proto-max-bulk-len") or 0)
    return [
        judge_output_buffer(hard, soft, event_max_bytes),
        *judge_largest_message(hard, largest, event_max_bytes),
    ]


def judge_output_buffer(hard: int, soft: int, event_max_bytes: int) -> Finding:
    """The finding for the limits of pub/sub clients, in bytes; 0 for none."""
    sentence = f"client-output-buffer-limit pubsub is {hard} {soft} bytes"
    remedy = f"Set client-output-buffer-limit {_limit(event_max_bytes)}."
    if not hard:
        return _TOPIC.warning(
            f"{sentence}: without a limit, a subscriber that hangs fills the memory of Redis.",
            remedy,
        )
    if hard <= event_max_bytes:
        return _TOPIC.error(
            f"{sentence}, and GATEWAY_EVENT_MAX_BYTES is {event_max_bytes}: one event of that size "
            "makes Redis drop the subscription of every gateway.",
            remedy,
        )
    if min(hard, soft or hard) < _needed(event_max_bytes):
        return _TOPIC.warning(
            f"{sentence}: Redis drops the gateway's subscription in a large burst of events, "
            f"which may have {event_max_bytes} bytes each (GATEWAY_EVENT_MAX_BYTES).",
            remedy,
        )
    return _TOPIC.ok(f"{sentence}: a burst fits, and a subscriber that hangs is dropped.")


def judge_largest_message(hard: int, largest: int, event_max_bytes: int) -> list[Finding]:
    """The finding for the largest message that Redis accepts, in bytes; 0 if unknown."""
    if not largest or not hard or largest < hard or hard < 2 * event_max_bytes:
        return []
    return [
        _TOPIC.note(
            f"Redis accepts messages of {largest} bytes (proto-max-bulk-len); one above {hard} "
            "(client-output-buffer-limit pubsub) cuts the subscription of every gateway.",
            f"Set proto-max-bulk-len {hard // 2}: the publisher of a larger message gets an error.",
        )
    ]


def _needed(event_max_bytes: int) -> int:
    return max(SMALLEST_BUFFER, LARGEST_EVENTS * event_max_bytes)


def _limit(event_max_bytes: int) -> str:
    """The limit to set: the default of Redis for events of the default size, more for larger."""
    soft = _needed(event_max_bytes)
    return f"pubsub {4 * soft} {soft} 60"
