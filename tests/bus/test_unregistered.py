"""Events of executions that nobody registered are named, once a minute at most."""

from collections.abc import Sequence

import pytest
from redis.asyncio import Redis

from gateway.bus import registry
from gateway.bus.registry import CHECK_INTERVAL, Registry, UnregisteredWatch, register
from gateway.contract.keys import events_key, meta_key
from gateway.contract.scripts import HistoryLimits
from tests.conftest import StartGateway
from tests.harness.history import payload, record
from tests.harness.redis_process import RedisProcess
from tests.harness.ticking import ticking
from tests.support import eventually, producer_message


async def test_the_warning_names_number_id_and_remedies(
    start_gateway: StartGateway,
    redis: Redis,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The warning has the number of events, one id and both remedies, and leaves out what is
    registered. On a busy machine a check comes between two events: then there are two warnings."""
    monkeypatch.setattr(registry.UnregisteredWatch.__init__, "__defaults__", (0.3,))
    await start_gateway()
    await register(redis, "known", "acme")
    for _ in range(3):
        await redis.publish("execution:unknown", producer_message("step:started"))
        await redis.publish("execution:known", producer_message("step:started"))

    def lines() -> list[str]:
        return [one.message for one in caplog.records if "nobody registered" in one.message]

    def events() -> list[int]:
        return [int(line.partition(" events arrived for 1 executions ")[0]) for line in lines()]

    await eventually(lambda: sum(events()) >= 3)
    assert sum(events()) == 3
    for line in lines():
        assert "unknown" in line
        assert "sse-gateway register" in line
        assert "GATEWAY_OWNERSHIP=token" in line


def test_warnings_are_a_minute_apart() -> None:
    """Checks, and so warnings, are a minute apart."""
    assert CHECK_INTERVAL == 60


async def test_a_flood_of_ids_is_bounded(redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    """A flood of new ids neither grows the process nor hides those seen first."""
    for number in range(0, 1500, 2):
        await register(redis, f"run-{number}", "acme")
    watch = UnregisteredWatch(Registry(redis), 0.05)
    for number in range(3000):
        watch.note_events(f"run-{number}", 1)
    async with ticking(watch.tick_seconds, watch.tick):
        await eventually(lambda: caplog.records)
    assert "500 events arrived for 500 executions" in caplog.text


async def test_nothing_is_forgotten_without_redis(
    redis_process: object, caplog: pytest.LogCaptureFixture
) -> None:
    """While Redis cannot be asked nothing is said and nothing forgotten."""
    process = redis_process()  # type: ignore[operator]
    assert isinstance(process, RedisProcess)
    tries = 0

    class Counted(Registry):
        async def keep_registered(
            self, execution_ids: Sequence[str], limits: HistoryLimits
        ) -> dict[str, bool]:
            nonlocal tries
            tries += 1
            return await super().keep_registered(execution_ids, limits)

    async with Redis.from_url(process.url) as client:
        watch = UnregisteredWatch(Counted(client), 0.05)
        watch.note_events("run-1", 2)
        process.kill()
        async with ticking(watch.tick_seconds, watch.tick):
            await eventually(lambda: tries >= 2)
            assert "nobody registered" not in caplog.text
            process.start()
            await eventually(lambda: "2 events arrived for 1 executions" in caplog.text)


@pytest.mark.parametrize("is_late", [False, True], ids=["before a check", "after a check"])
async def test_a_plain_hset_keeps_the_history_too(
    redis: Redis, caplog: pytest.LogCaptureFixture, is_late: bool
) -> None:
    """What was recorded before a plain HSET of the organization is kept as long as any other
    execution, though nothing comes after it; one whose owner is no name is left alone."""
    for execution_id in ("run-1", "run-2"):
        await record(redis, execution_id, payload("a"), unregistered_ttl_ms=60_000)
    watch = UnregisteredWatch(Registry(redis), 0.05)
    watch.note_events("run-1", 1)
    watch.note_events("run-2", 1)
    async with ticking(watch.tick_seconds, watch.tick):
        if is_late:
            await eventually(lambda: "2 events arrived for 2 executions" in caplog.text)
        await redis.hset(meta_key("run-2"), "organization_id", "a\nb")
        await redis.hset(meta_key("run-1"), "organization_id", "acme")

        async def is_kept() -> bool:
            times = [await redis.pttl(key) for key in (meta_key("run-1"), events_key("run-1"))]
            return min(times) > 24 * 3600 * 1000

        await eventually(is_kept)
        assert await redis.pttl(events_key("run-2")) <= 60_000
        assert await redis.hget(meta_key("run-1"), "organization_id") == b"acme"
