"""Gateways and publishers of the version before, and of this one, on one Redis.

`previous/` holds the scripts as that version calls them.
"""

import hashlib
import secrets
from pathlib import Path

import pytest
from redis.asyncio import Redis

from gateway.bus import scripts
from gateway.bus.history import History
from gateway.contract import keys
from gateway.contract.registration import Registration
from gateway.contract.scripts import BareMessage, HistoryLimits, record_call
from gateway.events.envelope import with_timestamp
from gateway.events.ids import EventId, parse_id
from tests.harness.history import append, ids, kept, payload, record

LIMITS = HistoryLimits()
PREVIOUS = Path(__file__).parent / "previous"
META = keys.meta_key("run-1")


def previous(*names: str) -> str:
    return "\n".join((PREVIOUS / name).read_text(encoding="utf-8") for name in names)


def digest(payload: bytes) -> bytes:
    return hashlib.blake2b(payload, digest_size=16).digest()


async def previous_record(
    redis: Redis, *payloads: bytes, batch: int = 1, limits: HistoryLimits = LIMITS
) -> list[EventId | None]:
    """Record bare messages as a gateway of the version before does."""
    arguments: list[bytes | str | int] = [
        limits.max_events, limits.max_bytes, limits.open_ttl_ms, limits.history_ttl_ms, 60_000,
        "previous", 0, batch, 3_600_000, 2000,
    ]  # fmt: skip
    for one in payloads:
        arguments += [one, digest(one), ""]
    names = [
        keys.events_key("run-1"), META, keys.seen_key("run-1"), keys.order_key("run-1"),
        keys.answer_key("run-1", "previous"),
    ]  # fmt: skip
    answer = await redis.eval(previous("append.lua", "record.lua"), len(names), *names, *arguments)
    return [parse_id(one.decode()) for one in answer]


async def previous_append(redis: Redis, payload: bytes, max_bytes: int) -> None:
    """Append an event as a publisher of the version before does."""
    once = keys.once_key("run-1", secrets.token_hex(8))
    await redis.eval(
        previous("append.lua", "publish.lua"), 3, keys.events_key("run-1"), META, once,
        1000, max_bytes, 10**9, 10**9, 10**9, "execution:run-1", 60_000, "", payload,
    )  # fmt: skip


@pytest.mark.parametrize("unregistered_ttl_ms", [0, 60_000])
async def test_both_releases_give_the_same_ids(redis: Redis, unregistered_ttl_ms: int) -> None:
    """Both give the same bare messages the same ids, whichever of them records a message first."""
    a, b, c = payload("a"), payload("b"), payload("c")

    now = await record(redis, "run-1", a, b, batch=1, unregistered_ttl_ms=unregistered_ttl_ms)
    before = await previous_record(redis, a, b, a, batch=1)
    before += await previous_record(redis, c, batch=2)
    now += await record(redis, "run-1", a, c, batch=2, unregistered_ttl_ms=unregistered_ttl_ms)
    assert now == before
    assert len(await ids(redis, "run-1")) == 4


async def test_a_timestamp_is_added_only_where_this_release_recorded(redis: Redis) -> None:
    """Each event has the bytes that history has of it: with the time of recording where this
    release recorded it first, and as it was published where the one before did."""
    a, b = payload("a"), payload("b")
    await previous_record(redis, a)
    messages = [BareMessage(one, digest(one), "", gets_timestamp=1) for one in (a, b)]
    call = record_call("run-1", messages, instance="i", since=0, batch=1, limits=LIMITS)
    first, second = await scripts.run(redis, call)
    event_id, _, timestamp = second.partition(b" ")
    assert [str(parse_id(first.decode())), event_id.decode()] == await ids(redis, "run-1")
    assert [one for _, one in await kept(redis)] == [a, with_timestamp(b, timestamp)]
    # It has seen `a` already: its next new one is `b`.
    assert await previous_record(redis, b, batch=2) == [parse_id(event_id.decode())]


async def test_both_releases_trim_within_the_bound(redis: Redis) -> None:
    """However they take turns, also when the one before has begun a new epoch, a history stays
    within its bound and a reader gets what is kept."""
    bound = 3000
    for turn in range(60):
        if turn == 30:
            await redis.hset(META, "replid", "of another master")
        if turn == 45:
            await redis.delete(keys.events_key("run-1"))
        event = payload("a", n=turn, text="x" * 200)
        if turn % 3 or turn in (30, 45):
            await previous_append(redis, event, bound)
        else:
            await append(redis, "run-1", limits={"max_bytes": bound}, n=turn, text="x" * 200)
        page = await History(redis).page("run-1", None)
        sizes = [len(entry.payload) for entry in page.entries]
        assert sum(sizes) <= bound
        assert [str(entry.id) for entry in page.entries] == await ids(redis, "run-1")
    assert sum(sizes) > bound - 400


async def test_both_releases_know_a_registration(redis: Redis) -> None:
    """What a publisher before has registered is known to the script, and the other way round."""

    async def now(organization: str) -> bytes:
        script, names, arguments = Registration("run-1", organization).call(LIMITS)
        answer: bytes = await redis.eval(script.text, len(names), *names, *arguments)
        return answer

    await redis.hsetnx(META, "organization_id", "acme")
    assert await now("acme") == b"same"
    assert await now("other") == b"organization_id"
    await redis.delete(META)
    assert await now("acme") == b"registered"
    assert await redis.hsetnx(META, "organization_id", "other") == 0
