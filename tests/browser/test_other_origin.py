"""A page of another origin that follows an execution with the browser's own EventSource."""

import pytest
from redis.asyncio import Redis

from gateway.bus.registry import register
from tests.browser.tab import Tab
from tests.conftest import StartGateway
from tests.support import eventually, producer_message

STEP = {"node_id": "b7d0c1de-9a0e-4f7e-9b7e-5d2f8d0f1a01", "node_type": "signature"}


async def publish(redis: Redis, *messages: bytes) -> None:
    """Let a worker publish *messages* in the execution `run-1`."""
    for message in messages:
        await redis.publish("execution:run-1", message)


@pytest.mark.parametrize("end", ["execution:completed", "execution:failed"])
async def test_allowed_origin(
    start_gateway: StartGateway, redis: Redis, origin: str, tab: Tab, end: str
) -> None:
    """With credentials in the query it gets `connected`, a heartbeat, and each event with the
    producer's data, in order; closing at the end leaves no stream behind and no error."""
    gateway = await start_gateway(cors_origins=origin, heartbeat_seconds=0.2)
    await register(redis, "run-1", "acme")
    await tab.page.goto(origin)
    await tab.follow(gateway.stream_url("run-1"))
    await tab.sees("connected")
    await tab.sees("heartbeat")
    await publish(
        redis,
        producer_message("step:started", **STEP, position=1),
        producer_message("step:completed", **STEP, duration_ms=5176, output={"name": "Ação ✓"}),
        producer_message("execution:paused", reason="approval"),
        producer_message("step:started", **STEP, position=2),
        producer_message("step:failed", **STEP, error='It said: "no"\nand left'),
        producer_message(end, status=end.partition(":")[2], error_message="Nothing was signed"),
    )
    await tab.closed()
    connected, *events = await tab.seen()
    assert connected["document"]["execution_id"] == "run-1"
    assert [event["type"] for event in events] == [
        *("step:started", "step:completed", "execution:paused", "step:started", "step:failed"),
        end,
    ]
    assert all(event["document"]["type"] == event["type"] for event in events)
    data = [event["document"]["data"] for event in events]
    assert data[1] == {**STEP, "duration_ms": 5176, "output": {"name": "Ação ✓"}}
    assert data[2]["reason"] == "approval"
    assert [data[0]["position"], data[3]["position"]] == [1, 2]
    assert data[4]["error"] == 'It said: "no"\nand left'
    assert data[5]["error_message"] == "Nothing was signed"
    assert all(event["document"]["timestamp"] for event in events)
    await eventually(lambda: gateway.server.streams == 0)
    assert await tab.connection_errors() == 0
    assert tab.errors == []


async def test_closes_at_error(
    start_gateway: StartGateway, redis: Redis, origin: str, tab: Tab
) -> None:
    """A page that closes at the first error is not called back, and has all that happened when it
    follows anew."""
    gateway = await start_gateway(ownership="token", cors_origins=origin)
    await tab.page.goto(origin)
    await tab.follow(gateway.stream_url("run-1"), closes_at_error=True)
    await tab.sees("connected")
    await publish(redis, producer_message("step:started", **STEP))
    await tab.sees("step:started")
    await gateway.components.hub.cut()
    await tab.closed()
    assert await tab.connection_errors() == 1
    await publish(redis, producer_message("execution:paused", reason="approval"))
    await tab.follow(gateway.stream_url("run-1"), closes_at_error=True)
    await tab.sees("execution:paused")
    assert await tab.types() == ["connected", "step:started", "execution:paused"]


async def test_every_origin(
    start_gateway: StartGateway, redis: Redis, origin: str, tab: Tab
) -> None:
    """`*` lets the page of any origin follow."""
    gateway = await start_gateway(ownership="token", cors_origins="*", cors_credentials=False)
    await tab.page.goto(origin)
    await tab.follow(gateway.stream_url("run-1"))
    await tab.sees("connected")
    await publish(redis, producer_message("step:started", **STEP))
    await tab.sees("step:started")


@pytest.mark.parametrize("allowed", ["", "https://app.example.com"])
async def test_origin_not_allowed(
    start_gateway: StartGateway, redis: Redis, origin: str, tab: Tab, allowed: str
) -> None:
    """Where its origin is not listed the browser refuses the page everything, and for good."""
    gateway = await start_gateway(ownership="token", cors_origins=allowed)
    await tab.page.goto(origin)
    await tab.follow(gateway.stream_url("run-1"))
    await tab.closed()
    await publish(redis, producer_message("step:started", **STEP))
    assert await tab.types() == []
    assert await tab.connection_errors() == 1
    assert "CORS policy" in tab.errors[0]


async def test_bad_token(start_gateway: StartGateway, origin: str, tab: Tab) -> None:
    """A token that is not valid ends the EventSource for good, without any event."""
    gateway = await start_gateway(ownership="token", cors_origins=origin)
    await tab.page.goto(origin)
    await tab.follow(gateway.stream_url("run-1"), token="not.a.token")
    await tab.closed()
    assert await tab.types() == []
    assert any("401" in error for error in tab.errors)
