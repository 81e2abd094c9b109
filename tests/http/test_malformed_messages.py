"""What producers should not send: it is counted and logged, and no stream notices."""

import logging

import orjson
import pytest
from redis.asyncio import Redis

from gateway.contract.keys import events_key
from gateway.log import RateLimitedLog
from tests.conftest import RunningGateway, StartGateway, credentials
from tests.events.test_envelope import UNUSABLE, USABLE
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
    """A message larger than allowed is dropped and counted; one at the limit arrives."""
    gateway = await start_gateway(ownership="token", event_max_bytes=2000)
    reader = await gateway.open("run-1")
    small = producer_message("step:completed", output="")
    fits = producer_message("step:completed", output="x" * (2000 - len(small)))
    assert len(fits) == 2000
    await redis.publish("execution:run-1", producer_message("step:completed", output="x" * 2000))
    await redis.publish("execution:run-1", fits)
    assert (await reader.expect("step:completed")).data.encode().endswith(fits[1:])
    assert gateway.components.metrics.events_dropped["malformed"] == 1


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
