"""Bare messages get an id and a place in history before anybody is served them."""

import time
from collections.abc import Awaitable, Callable
from datetime import datetime

import pytest
from redis.asyncio import Redis

from gateway.bus import recorder
from gateway.bus.history import History
from tests.conftest import RunningGateway, StartGateway
from tests.harness.history import append, ids, ids_of
from tests.harness.redis_process import RedisProcess
from tests.support import eventually, producer_message

EVENTS = "sse:{run-1}:events"
META = "sse:{run-1}:meta"


async def test_bare_messages_are_recorded(start_gateway: StartGateway, redis: Redis) -> None:
    """Bare messages get ids in history before they are delivered, the same from two instances,
    and equal payloads are kept twice."""
    one = await start_gateway(ownership="token")
    two = await start_gateway(ownership="token")
    first, second = await one.open("run-1"), await two.open("run-1")
    message = producer_message("step:started", n=1)
    for _ in range(2):
        await redis.publish("execution:run-1", message)
    await redis.publish("execution:run-1", producer_message("execution:completed"))
    seen = await first.rest()
    assert ids_of(seen) == ids_of(await second.rest()) == await ids(redis, "run-1")
    assert len(seen) == 3
    assert seen[0].data.partition(",")[2] == seen[1].data.partition(",")[2]


async def test_an_event_without_timestamp_gets_the_time_of_recording(
    start_gateway: StartGateway, redis: Redis
) -> None:
    """Two gateways, live and replayed, show the same bytes: the producer's JSON, after the time at
    which it was recorded; the run has its times."""
    gateways = [await start_gateway(ownership="token") for _ in range(2)]
    live = [await one.open("run-1") for one in gateways]
    began = (await redis.time())[0]
    given = (
        '{"type":"step:started", "data":{"timestamp":1.10}}',
        '{ "data":{},"timestamp":null,"type":"step:completed"}',
        '{"type":"log:line","timestamp":"mine"}',
        '{"type":"execution:completed"}',
    )
    for message in given:
        await redis.publish("execution:run-1", message)
    seen = [await one.rest() for one in live]
    seen += [await (await one.open("run-1")).rest() for one in gateways]
    assert seen[0] == seen[1] == seen[2] == seen[3]
    times = [one.json()["timestamp"] for one in seen[0]]
    assert times[2] == "mine"
    for number in (0, 1, 3):
        assert 0 <= datetime.fromisoformat(times[number]).timestamp() - began < 60
    shown = [one.data.partition(f'"{times[n]}",')[2] for n, one in enumerate(seen[0][:2])]
    assert shown == [given[0][1:], ' "data":{},"type":"step:completed"}']
    meta = await History(redis).meta("run-1")
    assert (meta.first_time, meta.terminal_time) == (times[0], times[3])


async def test_unwatched_events_are_recorded(gateway: RunningGateway, redis: Redis) -> None:
    """Events that nobody watches, of an execution nobody registered, are recorded all the same."""
    await redis.publish("execution:run-1", producer_message("step:started"))
    await eventually(lambda: redis.exists(EVENTS))
    reader = await gateway.open("run-1")
    await reader.expect("step:started")


async def test_recording_off(start_gateway: StartGateway, redis: Redis) -> None:
    """With recording off bare events are delivered live, without id, and not kept."""
    gateway = await start_gateway(ownership="token", record_bare_events=False)
    reader = await gateway.open("run-1")
    await redis.publish("execution:run-1", producer_message("step:started"))
    assert (await reader.expect("step:started")).id is None
    await redis.publish("execution:run-1", producer_message("execution:completed"))
    assert len(await reader.rest()) == 1
    assert not await redis.exists(EVENTS)


async def test_recording_refused(
    start_gateway: StartGateway, redis_process: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Redis that refuses to record (out of memory) holds the batch to a deadline; then events
    go out without id, counted, and health says so, until recording works again."""
    monkeypatch.setattr(recorder, "REFUSAL_DEADLINE", 0.5)
    process = redis_process()  # type: ignore[operator]
    assert isinstance(process, RedisProcess)
    gateway = await start_gateway(ownership="token", redis_url=process.url)
    reader = await gateway.open("run-1")
    process.command("CONFIG", "SET", "maxmemory", "1")
    process.command("PUBLISH", "execution:run-1", producer_message("step:started").decode())
    assert (await reader.expect("step:started")).id is None
    assert gateway.components.metrics.events_dropped["unrecorded"] == 1
    status, document = await gateway.health()
    assert status == 503
    assert "without being recorded" in document["reason"]
    assert "OOM" in document["reason"]
    process.command("CONFIG", "SET", "maxmemory", "0")
    process.command("PUBLISH", "execution:run-1", producer_message("step:completed").decode())
    assert (await reader.expect("step:completed")).id is not None
    await eventually(gateway.healthy)


async def test_refusal_is_no_deafness(start_gateway: StartGateway, redis_process: object) -> None:
    """While Redis refuses to record, health does not say that Redis is gone, or that the
    subscription is deaf: canaries that wait behind the batch have come."""
    process = redis_process()  # type: ignore[operator]
    gateway = await start_gateway(ownership="token", redis_url=process.url)
    process.command("CONFIG", "SET", "maxmemory", "1")
    process.command("PUBLISH", "execution:run-1", producer_message("step:started").decode())
    seen = []

    async def given_up() -> bool:
        seen.append((await gateway.health())[1])
        return gateway.components.metrics.events_dropped["unrecorded"] == 1

    await eventually(given_up)
    assert {document["redis"] for document in seen} == {"connected"}
    reasons = {document["reason"] for document in seen if "reason" in document}
    assert reasons
    assert all("record" in reason and "deaf" not in reason for reason in reasons)


async def test_health_comes_back_without_an_event(
    start_gateway: StartGateway, redis_process: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once Redis records again the gateway is healthy, also if nothing happens any more; what
    tried it is forgotten."""
    monkeypatch.setattr(recorder, "REFUSAL_DEADLINE", 0.1)
    process = redis_process()  # type: ignore[operator]
    gateway = await start_gateway(ownership="token", redis_url=process.url)
    reader = await gateway.open("run-1")
    process.command("CONFIG", "SET", "maxmemory", "1")
    process.command("PUBLISH", "execution:run-1", producer_message("step:started").decode())
    await reader.expect("step:started")
    refused = str(process.command("INFO", "errorstats"))
    await eventually(lambda: str(process.command("INFO", "errorstats")) != refused)
    assert (await gateway.health())[0] == 503
    process.command("CONFIG", "SET", "maxmemory", "0")
    await eventually(gateway.healthy)
    async with Redis.from_url(process.url) as redis:
        left = [key async for key in redis.scan_iter("*sse-gateway-probe-*")]
        assert left
        assert all([0 < await redis.pttl(key) <= 3_600_000 for key in left])


async def _wrong_type(redis: Redis) -> None:
    await redis.set("sse:{bad}:events", "somebody else's")


async def _own_entries(redis: Redis) -> None:
    """A producer's own `XADD ... *`."""
    await append(redis, "bad", prefix="elsewhere:")
    await redis.xadd("sse:{bad}:events", {"event": "{}"}, id="9999999999999999-1")


async def _meta_without_seq(redis: Redis) -> None:
    await append(redis, "bad", prefix="elsewhere:")
    await redis.hdel("sse:{bad}:meta", "seq")


async def _entries_without_bytes(redis: Redis) -> None:
    """Of a producer that wrote its own; the script that trims finds no sum there."""
    for number in (1, 2):
        await redis.xadd("sse:{bad}:events", {"event": "{}"}, id=f"1-{number}")
    await redis.hset("sse:{bad}:meta", "bytes", str(2**40))


@pytest.mark.parametrize("break_it", [_meta_without_seq, _entries_without_bytes])
async def test_what_the_script_can_repair_is_recorded(
    start_gateway: StartGateway, redis: Redis, break_it: Callable[[Redis], Awaitable[None]]
) -> None:
    """Numbers of others in the keys of an execution count as missing: its events are recorded."""
    gateway = await start_gateway(ownership="token")
    reader = await gateway.open("bad")
    await break_it(redis)
    for number in range(5):
        await redis.publish("execution:bad", producer_message("log", n=number))
    seen = [await reader.expect("log") for _ in range(5)]
    assert [one.json()["data"]["n"] for one in seen] == list(range(5))
    assert None not in [one.id for one in seen]


@pytest.mark.parametrize("break_it", [_wrong_type, _own_entries])
async def test_one_that_cannot_be_recorded_is_alone(
    start_gateway: StartGateway, redis: Redis, break_it: Callable[[Redis], Awaitable[None]]
) -> None:
    """An execution whose keys somebody else has broken keeps no other one waiting, and the gateway
    healthy; its own events go out live, in order, without ids, counted and logged."""
    gateway = await start_gateway(ownership="token")
    good, bad = await gateway.open("good"), await gateway.open("bad")
    await break_it(redis)
    began = time.monotonic()
    for number in range(5):
        await redis.publish("execution:bad", producer_message("log", n=number))
        await redis.publish("execution:good", producer_message("log", n=number))
    for _ in range(5):
        assert (await good.expect("log")).id is not None
    seen = [await bad.expect("log") for _ in range(5)]
    assert time.monotonic() - began < 3
    assert [(one.id, one.json()["data"]["n"]) for one in seen] == [(None, n) for n in range(5)]
    assert gateway.components.metrics.events_dropped["unrecorded"] == 5
    assert (await gateway.health())[0] == 200


@pytest.mark.alone
async def test_a_long_refusal_delays_only_the_first(
    start_gateway: StartGateway, redis_process: Callable[..., RedisProcess],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """While a whole Redis refuses, the first batch waits to the deadline; those after it are tried
    once, and are not late."""
    monkeypatch.setattr(recorder, "REFUSAL_DEADLINE", 1.0)
    process = redis_process()
    gateway = await start_gateway(ownership="token", redis_url=process.url)
    reader = await gateway.open("run-1")
    process.command("CONFIG", "SET", "maxmemory", "1")
    for number in range(4):
        began = time.monotonic()
        message = producer_message("log", n=number)
        process.command("PUBLISH", "execution:run-1", message.decode())
        assert (await reader.expect("log")).id is None
        took = time.monotonic() - began
        assert took > 1.0 if number == 0 else took < 0.9


async def test_a_second_of_refusal_loses_nothing(
    start_gateway: StartGateway, redis_process: object
) -> None:
    """A refusal that passes within the deadline loses nothing, not even the ids."""
    process = redis_process()  # type: ignore[operator]
    gateway = await start_gateway(ownership="token", redis_url=process.url)
    reader = await gateway.open("run-1")
    process.command("CONFIG", "SET", "maxmemory", "1")
    for number in range(20):
        message = producer_message("step:started", n=number)
        process.command("PUBLISH", "execution:run-1", message.decode())
    await eventually(lambda: "errorstat_OOM" in str(process.command("INFO", "errorstats")))
    process.command("CONFIG", "SET", "maxmemory", "0")
    process.command("PUBLISH", "execution:run-1", producer_message("execution:completed").decode())
    seen = await reader.rest()
    assert [one.id is not None for one in seen] == [True] * 21
    assert [one.json()["data"].get("n") for one in seen[:-1]] == list(range(20))
