"""Whose an execution is, in one step, and for how long what nobody registered is kept."""

import pytest
from redis.asyncio import Redis

from gateway.bus.registry import register
from gateway.contract.keys import events_key, meta_key
from gateway.contract.registration import Registration, RegistrationRefused
from gateway.contract.scripts import HistoryLimits
from gateway.events.ids import EventId
from tests.conftest import StartGateway
from tests.harness.history import append, payload, record
from tests.support import eventually, producer_message

HOUR = 3600 * 1000
DAY = 24 * HOUR
KEYS = (events_key("run-1"), meta_key("run-1"))


async def times_left(redis: Redis) -> list[int]:
    """Milliseconds that history and `meta` are kept for; -1: without end, -2: gone."""
    return [await redis.pttl(key) for key in KEYS]


@pytest.mark.parametrize("organization", ["other", "acme"])
async def test_refused_writes_nothing(redis: Redis, organization: str) -> None:
    """A registration that is refused, for another tenant or another workflow, changes no field and
    no expiry."""
    await redis.hset(meta_key("run-1"), mapping={"organization_id": "acme"})
    if organization == "acme":
        await redis.hset(meta_key("run-1"), "workflow_id", "invoices")
    await redis.pexpire(meta_key("run-1"), 60_000)
    before = await redis.hgetall(meta_key("run-1"))
    with pytest.raises(RegistrationRefused):
        await register(redis, "run-1", organization, "theirs")
    assert await redis.hgetall(meta_key("run-1")) == before
    assert await redis.pttl(meta_key("run-1")) <= 60_000


async def test_each_answer_has_its_meaning(redis: Redis) -> None:
    """The script tells a first registration from the same one again, and names what differs."""

    async def answer(organization: str, workflow: str | None) -> bytes:
        script, keys, arguments = Registration("run-1", organization, workflow).call(
            HistoryLimits()
        )
        said: bytes = await redis.eval(script.text, len(keys), *keys, *arguments)
        return said

    assert await answer("acme", None) == b"registered"
    assert await answer("acme", "w") == b"same"
    assert await answer("acme", "w") == b"same"
    assert await answer("acme", "v") == b"workflow_id"
    assert await answer("other", "w") == b"organization_id"


async def test_unregistered_is_kept_for_a_short_time(redis: Redis) -> None:
    """Bare messages of an execution that no organization has are kept for the short time, and once
    it has one, by registration or by a plain HSET and one more event, for as long as any other."""
    await record(redis, "run-1", payload("a"), unregistered_ttl_ms=HOUR)
    assert all(HOUR - 60_000 < left <= HOUR for left in await times_left(redis))
    await register(redis, "run-1", "acme")
    assert all(left > 29 * DAY for left in await times_left(redis))

    await redis.delete(*KEYS)
    await record(redis, "run-1", payload("a"), batch=2, unregistered_ttl_ms=HOUR)
    await redis.hset(meta_key("run-1"), "organization_id", "acme")
    await record(redis, "run-1", payload("b"), batch=3, unregistered_ttl_ms=HOUR)
    assert all(left > 29 * DAY for left in await times_left(redis))


async def test_never_below_what_is_left(redis: Redis) -> None:
    """What a publisher, or a gateway without the short time, has appended is kept as long as it was
    then; and an execution that has ended never longer than any other."""
    await append(redis, "run-1")
    await record(redis, "run-1", payload("a"), unregistered_ttl_ms=HOUR)
    assert all(left > 29 * DAY for left in await times_left(redis))
    await redis.delete(*KEYS)
    end = {"history_ttl_ms": 60_000}
    await append(redis, "run-1", "execution:completed", limits=end)
    assert (await times_left(redis))[0] <= 60_000
    await record(redis, "run-1", payload("b"), batch=2, unregistered_ttl_ms=HOUR)
    history, meta = await times_left(redis)
    assert history <= HOUR
    assert meta > 6 * DAY


async def test_registered_after_the_end(redis: Redis) -> None:
    """An execution that was registered when it had ended is kept as any that has ended."""
    end = "execution:completed"
    await record(redis, "run-1", payload(end), terminal_type=end, unregistered_ttl_ms=HOUR)
    assert all(left <= HOUR for left in await times_left(redis))
    await register(redis, "run-1", "acme")
    history, meta = await times_left(redis)
    assert 23 * HOUR < history <= DAY
    assert 6 * DAY < meta <= 7 * DAY


async def test_registration_never_shortens(redis: Redis) -> None:
    """Registering again with a shorter time takes nothing away."""
    await append(redis, "run-1")
    call = Registration("run-1", "acme").call(HistoryLimits(open_ttl_ms=60_000))
    await redis.eval(call.script.text, len(call.keys), *call.keys, *call.arguments)
    assert all(left > 29 * DAY for left in await times_left(redis))


async def test_silence_after_registration(redis: Redis) -> None:
    """Three events, a registration, a silence longer than the short time, one event: one epoch."""
    short = 1500
    given = [
        (await record(redis, "run-1", payload("a", n=n), batch=n, unregistered_ttl_ms=short))[0]
        for n in range(3)
    ]
    await register(redis, "run-1", "acme")
    # Kept for the same time, from later on.
    await record(redis, "unknown", payload("a"), unregistered_ttl_ms=short)
    await eventually(lambda: _is_gone(redis, "unknown"))
    given += await record(redis, "run-1", payload("a", n=3), batch=3, unregistered_ttl_ms=short)
    assert given[0] is not None
    assert given == [EventId(given[0].epoch, seq) for seq in (1, 2, 3, 4)]


async def _is_gone(redis: Redis, execution_id: str) -> bool:
    return not await redis.exists(events_key(execution_id), meta_key(execution_id))


@pytest.mark.parametrize(("ownership", "is_short"), [("registry", True), ("token", False)])
async def test_only_ownership_by_registry_shortens(
    start_gateway: StartGateway, redis: Redis, ownership: str, is_short: bool
) -> None:
    """The gateway keeps what is unknown to the registry for an hour; where nobody registers, all is
    kept as long as it ever was. No key of an invented id outlives the hour."""
    await start_gateway(ownership=ownership)
    await redis.publish("execution:run-1", producer_message("step:started"))
    await eventually(lambda: redis.exists(KEYS[0]))
    assert [left <= HOUR for left in await times_left(redis)] == [is_short] * 2
    others = {key async for key in redis.scan_iter("sse:{run-1}:*")} - {
        key.encode() for key in KEYS
    }
    assert len(others) == 3
    for key in others:
        assert 0 < await redis.pttl(key) <= HOUR
