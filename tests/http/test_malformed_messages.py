"""What producers should not send: it is counted and logged, and no stream notices."""

import logging

import orjson
import pytest
from redis.asyncio import Redis

from gateway.bus.registry import register
from gateway.contract.keys import events_key, meta_key
from gateway.events.json_edit import parse
from gateway.log import RateLimitedLog
from tests.conftest import RunningGateway, StartGateway, credentials
from tests.events.messages import ARRIVE, DROPPED, MAX_BYTES, VECTORS, check
from tests.events.test_envelope import UNUSABLE, USABLE
from tests.harness.gateway_process import run
from tests.harness.history import append, append_payload
from tests.support import eventually, producer_message


async def test_malformed_messages(
    gateway: RunningGateway, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """200 malformed messages between good ones end no stream and forge no event; each is counted,
    and the log names the channel without being flooded."""
    reader = await gateway.open("run-1")
    bad = [payload for payload, _ in UNUSABLE] * (200 // len(UNUSABLE) + 1)
    for payload in bad:
        await redis.publish("execution:run-1", payload)
    await redis.publish("execution:run-1", producer_message("execution:completed"))
    assert [event.event for event in await reader.rest()] == ["execution:completed"]
    assert gateway.components.metrics.events_dropped["malformed"] == len(bad) >= 200
    lines = [record for record in caplog.records if "Dropped" in record.message]
    assert len(lines) == 1
    assert "execution:run-1" in lines[0].message
    assert lines[0].levelno == logging.WARNING


async def test_usable_messages_arrive(gateway: RunningGateway, redis: Redis) -> None:
    """Whatever is JSON with a usable type arrives, each as exactly one event."""
    reader = await gateway.open("run-1")
    for payload, _ in USABLE:
        await redis.publish("execution:run-1", payload)
    await redis.publish("execution:run-1", producer_message("execution:completed"))
    seen = await reader.rest()
    assert [event.event for event in seen[:-1]] == [event_type for _, event_type in USABLE]


@pytest.mark.parametrize(
    "channel",
    ["execution:", "execution:a b", "execution:" + "x" * 129, "execution:\xff", "execution:!x"],
)
async def test_channels_without_an_id(gateway: RunningGateway, redis: Redis, channel: str) -> None:
    """A message on a channel that names no execution id is counted and dropped."""
    await redis.publish(channel, producer_message("step:started"))
    await eventually(lambda: gateway.components.metrics.events_dropped["malformed"] == 1)


async def test_canaries_of_nobody(gateway: RunningGateway, redis: Redis) -> None:
    """What comes on the channel of a canary that is none of ours is no event, whatever its name,
    and the feed goes on."""
    reader = await gateway.open("run-1")
    for name in (b"execution:!canary:\xff", b"execution:!canary:", b"execution:!canary:!canary:x"):
        await redis.publish(name, b"\xff")
    await redis.publish("execution:run-1", producer_message("execution:completed"))
    assert [event.event for event in await reader.rest()] == ["execution:completed"]
    assert await gateway.healthy()


async def test_too_large(start_gateway: StartGateway, redis: Redis) -> None:
    """A message at the limit arrives as it is. Of a larger one the largest member of its data is
    missing, also of one that a `Publisher` has stored."""
    gateway = await start_gateway(ownership="token", event_max_bytes=2000)
    reader = await gateway.open("run-1")
    small = producer_message("step:completed", output="")
    fits = producer_message("step:completed", output="x" * (2000 - len(small)))
    assert len(fits) == 2000
    await redis.publish("execution:run-1", fits)
    await redis.publish("execution:run-1", producer_message("step:completed", output="x" * 2000))
    assert (await reader.expect("step:completed")).data.encode().endswith(fits[1:])
    trimmed = (await reader.expect("step:completed")).json()
    # Not before: a script is not behind the bare messages that are still to be recorded.
    await append(redis, "run-1", "execution:completed", output="x" * 2000, execution_time_ms=7)
    [end] = [event.json() for event in await reader.rest()]
    assert (trimmed["data"], trimmed["trimmed"]) == ({"output": None}, ["output"])
    assert end["data"] == {"output": None, "execution_time_ms": 7}
    metrics = gateway.components.metrics
    assert (metrics.events_dropped, metrics.events_edited) == ({}, {"trimmed": 2})


async def test_every_message_that_has_a_type_arrives(
    start_gateway: StartGateway, redis: Redis
) -> None:
    """All messages of the vectors, as bare ones and as a script stores them, in one run each: live,
    from history, and in a poll they are the same bytes; what has no type is counted."""
    gateway = await start_gateway(
        ownership="token", event_max_bytes=MAX_BYTES, terminal_types="over"
    )
    readers = {name: await gateway.open(name) for name in ("bare", "stored")}
    for vector in VECTORS:
        await redis.publish("execution:bare", vector["payload"])
    scripted = [one for one in ARRIVE if one["payload"].strip().startswith(b"{")]
    for vector in scripted:
        await append_payload(redis, "stored", vector["payload"].strip())
    for name, expected in (("bare", ARRIVE), ("stored", scripted)):
        await redis.publish(f"execution:{name}", producer_message("over"))
        live = (await readers[name].rest())[:-1]
        assert len(live) == len(expected)
        for vector, event in zip(expected, live, strict=True):
            check(vector, event.data, parse(event.data.encode()))
        replayed = (await (await gateway.open(name)).rest())[:-1]
        assert [(one.id, one.data) for one in replayed] == [(one.id, one.data) for one in live]
        poll = f"{gateway.url}/api/v1/workflows/-/runs/{name}?include_logs=true"
        async with gateway.session.get(poll, headers=credentials()) as response:
            document = await response.read()
        assert b",".join(one.data.encode() for one in live) in document
    metrics = gateway.components.metrics
    assert metrics.events_dropped == {"malformed": len(DROPPED)}
    assert set(metrics.events_edited) == {"repaired", "trimmed", "replaced", "renumbered"}


async def test_a_run_ends_when_its_worker_said_so(gateway: RunningGateway, redis: Redis) -> None:
    """Whatever is wrong with the terminal event, short of its type, the stream ends, and the
    document does not go on running."""
    logged = b'{"type":"execution:failed","data":{"error_message":"no space","log":"%b"}}'
    ends = [
        b'{"type":"execution:failed","data":{"loss":NaN}}',
        b'{"type":"execution:failed","data":{"error_message":"no space',
        logged % (b"x" * 2**21),
        logged % (b"x" * 17 * 2**20),
        b'{"type":"execution:failed","data":{"log":[%b1]}}' % (b"[]," * 2**20),
        b'{"data":{"log":[%b1]},"type":"execution:failed"}' % (b'{"a":[]},' * 2**21),
    ]
    for number, end in enumerate(ends):
        reader = await gateway.open(f"run-{number}")
        await redis.publish(f"execution:run-{number}", end)
        assert [event.event for event in await reader.rest()] == ["execution:failed"]
        poll = f"{gateway.url}/api/v1/workflows/-/runs/run-{number}"
        async with gateway.session.get(poll, headers=credentials()) as response:
            assert (await response.json())["status"] == "failed"


async def test_each_execution_sees_its_dropped_messages(
    start_gateway: StartGateway,
    redis: Redis,
    caplog: pytest.LogCaptureFixture,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each execution that lost a message is named with the reason: once in the log, at `/streams`,
    and by `sse-gateway status`."""
    monkeypatch.setattr("gateway.bus.drops.STORE_INTERVAL", 0.1)
    gateway = await start_gateway(admin_port=0)
    for name in ("run-1", "run-2"):
        await register(redis, name, "acme")
        for _ in range(3):
            await redis.publish(f"execution:{name}", b'{"event_type":"a"}')
    await eventually(lambda: gateway.components.metrics.events_dropped["malformed"] == 6)
    reason = "no type: it has event_type"
    lines = [one.message for one in caplog.records if reason in one.message]
    assert [("run-1" in one, "run-2" in one) for one in lines] == [(True, False), (False, True)]
    async with gateway.session.get(f"{gateway.server.admin_url}/streams") as response:
        assert (await response.json())["dropped"] == [
            {"execution_id": name, "messages": 3, "reason": reason} for name in ("run-2", "run-1")
        ]

    async def stored(count: bytes) -> None:
        async def is_stored() -> bool:
            return await redis.hget(meta_key("run-2"), "dropped") == count

        await eventually(is_stored)

    await stored(b"3")
    await redis.publish("execution:run-2", b'{"event_type":"a"}')
    await stored(b"4")
    code, out, _ = await run("status", "run-2", REDIS_URL=redis_url)
    assert code == 0
    assert reason in out
    assert not await redis.exists(meta_key("run-3"))
    for name in ("run-1", "run-2"):
        await redis.publish(f"execution:{name}", b'{"type":"a","data":NaN}')
    repaired = gateway.components.metrics.events_edited
    await eventually(lambda: repaired["repaired"] == 2)
    assert "run-1 was repaired: NaN at byte 19" in caplog.text
    assert "run-2 was repaired: NaN at byte 19" in caplog.text


FORGED = [" stream:closing", "stream:closing ", "stream:reset", "connected", "heartbeat", " ", ""]


@pytest.mark.parametrize("recorded", [False, True])
async def test_no_producer_speaks_as_the_gateway(
    gateway: RunningGateway, redis: Redis, caplog: pytest.LogCaptureFixture, recorded: bool
) -> None:
    """No event under a name of the gateway's own, with white space around it or without, is shown:
    neither live nor from a history that somebody else, or an older release, has written. Each is
    counted, and the log says why."""
    reader = await gateway.open("run-1")
    for number, event_type in enumerate(FORGED, start=1):
        # An id makes it one that a producer says to have recorded.
        identity = {"id": f"5-{number}"} if recorded else {}
        message = orjson.dumps({**identity, "type": event_type, "data": {"reason": "drain"}})
        await redis.publish("execution:run-1", message)
    await redis.publish("execution:run-1", producer_message("execution:completed"))
    assert [event.event for event in await reader.rest()] == ["execution:completed"]
    assert gateway.components.metrics.events_dropped == {"malformed": len(FORGED)}
    assert "begins or ends with white space" in caplog.text


async def test_no_history_speaks_as_the_gateway(
    gateway: RunningGateway,
    redis: Redis,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same of entries that a history already has, for streams and polls."""
    monkeypatch.setattr("gateway.bus.history.refusal_log", RateLimitedLog(60.0))
    types = [*FORGED, "step:started"]
    for number, event_type in enumerate(types, start=1):
        payload = orjson.dumps({"type": event_type, "data": {}})
        await redis.xadd(events_key("run-2"), {"event": payload}, id=f"5-{number}")
    reader = await gateway.open("run-2")
    await reader.expect("step:started")
    assert gateway.components.metrics.events_dropped == {"history": len(FORGED)}
    [line] = [record.message for record in caplog.records if "Left out" in record.message]
    assert "event 5-1 of the history of run-2: its type begins or ends with white space" in line
    poll = f"{gateway.url}/api/v1/workflows/-/runs/run-2?include_logs=true"
    async with gateway.session.get(poll, headers=credentials()) as response:
        document = await response.json()
    assert [event["type"] for event in document["events"]] == ["step:started"]
    assert gateway.components.metrics.events_dropped == {"history": 2 * len(FORGED)}
