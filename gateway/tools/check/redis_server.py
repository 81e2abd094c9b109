"""Checks Redis: whether it can be reached, its version and settings, and its latency.

Nothing is changed there, except for the probes of `gateway.tools.check.acl`, which are removed.
"""

import asyncio
import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, ResponseError

from gateway.bus import presence
from gateway.bus.cluster import Cluster
from gateway.bus.connection import create_redis
from gateway.bus.errors import REDIS_ERRORS, describe_redis_error
from gateway.settings import EMBEDDED_REDIS, Settings
from gateway.settings.redis_url import is_sentinel_url, parse_sentinel_url
from gateway.tools.check.acl import check_rights
from gateway.tools.check.cluster import Check, check_cluster
from gateway.tools.check.finding import Finding, Topic
from gateway.tools.check.sentinels import check_sentinels
from gateway.tools.check.server_info import judge_info

ROUND_TRIPS = 20
SLOW_MS = 20.0
"""A larger median makes opening a stream, which takes a few round trips, noticeably slow."""
SMALLEST_BUFFER = 8 * 1024 * 1024
"""Bytes: the default soft limit of Redis, enough for a burst of small events."""
LARGEST_EVENTS = 8
"""The buffer of Redis for a subscription must hold so many events of the largest size."""

_TOPIC = Topic("Redis")


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
    if is_sentinel_url(settings.redis_url):
        findings += await check_sentinels(parse_sentinel_url(settings.redis_url))
    checks: Sequence[Check] = (
        _check_latency,
        partial(_check_info, settings),
        partial(_check_configuration, settings.event_max_bytes),
        # A cluster is asked once.
        partial(_check_agreement, settings),
    )
    try:
        async with create_redis(settings.redis_url, max_connections=2) as redis:
            if isinstance(redis, Cluster):
                findings += await check_cluster(redis, checks[:-1])
                checks = checks[-1:]
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
    return judge_info(settings, await redis.info())


async def _check_configuration(event_max_bytes: int, redis: Redis) -> list[Finding]:
    name = "client-output-buffer-limit"
    try:
        answer = await redis.config_get(name, "proto-max-bulk-len", "append*")
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
        *_check_flush(answer),
    ]


def _check_flush(configuration: Mapping[Any, Any]) -> list[Finding]:
    """Whether a crash of the machine loses much of the append-only file."""
    if configuration["appendonly"] != "yes" or configuration["appendfsync"] != "no":
        return []
    return [
        _TOPIC.warning(
            "appendfsync is no: a crash of Redis' machine loses about 30 s of all that is written.",
            "Set appendfsync everysec, which loses one second at most.",
        )
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
