"""History as `Publisher` and the recorder write it, and as readers see it."""

import asyncio
import hashlib
import secrets
from dataclasses import replace
from typing import Any, cast

import orjson
from redis.asyncio import Redis

from gateway.bus import scripts
from gateway.bus.cluster import Cluster
from gateway.contract.keys import LiveCommand, PublishTo, channels_of
from gateway.contract.scripts import BareMessage, HistoryLimits, publish_call, record_call
from gateway.events.ids import EventId, parse_id
from gateway.settings import TERMINAL_TYPES
from tests.harness.sse import Seen, SseReader

LIMITS = HistoryLimits()


def payload(event_type: str, **data: Any) -> bytes:
    return orjson.dumps({"type": event_type, "data": data})


async def append(
    redis: Redis,
    execution_id: str,
    event_type: str = "step:started",
    *,
    prefix: str = "execution:",
    key: str | None = None,
    limits: dict[str, int] | None = None,
    to: PublishTo = "both",
    **data: Any,
) -> EventId:
    """Append one event and publish it for all kinds of gateways, in one step, as `Publisher`
    does."""
    return await append_payload(
        redis, execution_id, payload(event_type, **data), event_type, prefix, key, limits, to
    )


async def append_payload(
    redis: Redis,
    execution_id: str,
    payload: bytes,
    event_type: str = "",
    prefix: str = "execution:",
    key: str | None = None,
    limits: dict[str, int] | None = None,
    to: PublishTo = "both",
) -> EventId:
    """The same of any bytes, as a script of another language may."""
    call = publish_call(
        execution_id,
        payload,
        idempotency_key=key or secrets.token_hex(8),
        terminal_type=event_type if event_type in TERMINAL_TYPES else "",
        limits=replace(LIMITS, **(limits or {})),
        **channels_of(to, prefix, execution_id, in_cluster=isinstance(redis, Cluster))._asdict(),
    )
    event_id = parse_id((await scripts.run(redis, call)).decode())
    assert event_id is not None
    return event_id


async def record(
    redis: Redis,
    execution_id: str,
    *payloads: bytes,
    instance: str = "one",
    since: int = 0,
    batch: int = 1,
    terminal_type: str = "",
    unregistered_ttl_ms: int = 0,
    live: LiveCommand = "",
) -> list[EventId | None]:
    """Record bare messages, as the gateway *instance* does."""
    messages = [
        BareMessage(one, hashlib.blake2b(one, digest_size=16).digest(), terminal_type)
        for one in payloads
    ]
    call = record_call(
        execution_id,
        messages,
        instance=instance,
        since=since,
        batch=batch,
        limits=LIMITS,
        unregistered_ttl_ms=unregistered_ttl_ms,
        live=live,
    )
    return [parse_id(one.decode().partition(" ")[0]) for one in await scripts.run(redis, call)]


async def kept(redis: Redis, execution_id: str = "run-1") -> list[tuple[str, bytes]]:
    """Id and payload of every event that its history holds."""
    entries: list[tuple[bytes, dict[bytes, bytes]]]
    entries = cast(Any, await redis.xrange(f"sse:{{{execution_id}}}:events"))
    return [(event_id.decode(), fields[b"event"]) for event_id, fields in entries]


async def ids(redis: Redis, execution_id: str) -> list[str]:
    """All ids that its history holds."""
    return [event_id for event_id, _ in await kept(redis, execution_id)]


async def read(reader: SseReader, count: int) -> list[Seen]:
    """The next *count* frames but heartbeats."""
    seen: list[Seen] = []
    while len(seen) < count:
        one = await reader.next()
        assert one is not None
        if one.event != "heartbeat":
            seen.append(one)
    return seen


def ids_of(seen: list[Seen]) -> list[str | None]:
    return [one.id for one in seen]


async def flush(redis: Redis) -> None:
    """Empty Redis, and wait for its next millisecond: an epoch is the millisecond in which it
    began, and a history that begins again within the same one would have the same ids."""
    began = await redis.time()
    await redis.flushall()
    while await redis.time() < (began[0], began[1] + 1000):
        await asyncio.sleep(0)
