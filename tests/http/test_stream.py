"""The stream as a reader sees it, on a real socket."""

import asyncio
import json

import aiohttp
import pytest
from redis.asyncio import Redis

from gateway.bus.registry import register
from tests.conftest import RunningGateway, StartGateway, credentials
from tests.harness.sse import SseParser, parse_sse
from tests.support import eventually, producer_message

TERMINAL = [
    "execution:completed",
    "execution:failed",
    "execution:canceled",
    "execution:cancelled",
]


async def test_one_run(gateway: RunningGateway, redis: Redis) -> None:
    """`connected` comes first, then every event in order, then a clean end after the last."""
    reader = await gateway.open("run-1")
    sent = [producer_message("step:started", position=n) for n in range(20)]
    sent += [producer_message("execution:paused", reason="approval", waiting_for={})]
    sent += [producer_message("execution:completed", status="completed")]
    for payload in sent:
        await redis.publish("execution:run-1", payload)
    seen = await reader.rest()
    epoch = seen[0].id.partition("-")[0] if seen[0].id else ""
    ids = [f"{epoch}-{seq}" for seq in range(1, len(sent) + 1)]
    assert [event.id for event in seen] == ids
    assert [event.data.encode() for event in seen] == [
        b'{"id":"%b",' % event_id.encode() + payload[1:]
        for event_id, payload in zip(ids, sent, strict=True)
    ]
    assert [event.event for event in seen] == [json.loads(payload)["type"] for payload in sent]
    assert reader.response.content.at_eof()


async def test_head_of_the_stream(gateway: RunningGateway) -> None:
    """Status, headers and first bytes are those of the contract."""
    response = await gateway.get("run-1")
    assert response.status == 200
    assert response.headers["Content-Type"] == "text/event-stream"
    assert response.headers["Cache-Control"] == "no-cache, no-transform"
    assert response.headers["X-Accel-Buffering"] == "no"
    assert "Content-Encoding" not in response.headers
    [connected] = SseParser().feed(await response.content.readuntil(b"\n\n"))
    assert connected.event == "connected"
    assert connected.json() == {"execution_id": "run-1", "heartbeat_seconds": 15.0}
    assert connected.retry is not None
    assert 1000 <= connected.retry <= 3000


async def test_never_compressed(gateway: RunningGateway) -> None:
    """A reader that asks for compression does not get it: a compressor would hold events back."""
    response = await gateway.get("run-1", Accept_Encoding="gzip, deflate, br")
    assert "Content-Encoding" not in response.headers


@pytest.mark.parametrize("terminal", TERMINAL)
async def test_every_terminal_type_ends(
    gateway: RunningGateway, redis: Redis, terminal: str
) -> None:
    """Each terminal type ends the stream, and nothing that follows it is delivered."""
    reader = await gateway.open("run-1")
    async with redis.pipeline(transaction=True) as pipeline:
        pipeline.publish("execution:run-1", producer_message(terminal))
        pipeline.publish("execution:run-1", producer_message("step:started"))
        await pipeline.execute()
    assert [event.event for event in await reader.rest()] == [terminal]


async def test_terminal_types_are_a_setting(start_gateway: StartGateway, redis: Redis) -> None:
    """Which types end a stream is a setting."""
    gateway = await start_gateway(ownership="token", terminal_types="done, over")
    reader = await gateway.open("run-1")
    await redis.publish("execution:run-1", producer_message("execution:completed"))
    await redis.publish("execution:run-1", producer_message("over"))
    assert [event.event for event in await reader.rest()] == ["execution:completed", "over"]


async def test_heartbeat_when_silent(start_gateway: StartGateway) -> None:
    """A silent stream gets the named heartbeat with a timestamp and no id."""
    gateway = await start_gateway(ownership="token", heartbeat_seconds=0.2)
    reader = await gateway.open("run-1")
    for _ in range(3):
        seen = await reader.next(timeout=2)
        assert seen is not None
        assert (seen.event, seen.id) == ("heartbeat", None)
        assert seen.json()["timestamp"].endswith("Z")


async def test_connection_serves_the_next_request(gateway: RunningGateway, redis: Redis) -> None:
    """After its end the same connection serves another request, whose body is its own."""
    connector = aiohttp.TCPConnector(limit=1)
    async with aiohttp.ClientSession(connector=connector, headers=credentials()) as session:
        for number in range(5):
            async with session.get(gateway.stream_url(f"run-{number}")) as response:
                await response.content.readuntil(b"\n\n")
                end = producer_message("execution:completed", number=number)
                await redis.publish(f"execution:run-{number}", end)
                assert end[1:] in await response.content.read()
            async with session.get(f"{gateway.url}/api/v1/sse/health") as response:
                assert await response.json() == {"status": "healthy", "redis": "connected"}


async def test_http_1_0(gateway: RunningGateway, redis: Redis) -> None:
    """An HTTP/1.0 reader gets the same bytes without chunks, and the end of the connection."""
    host, port = gateway.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    lines = [f"{name}: {value}" for name, value in credentials().items()]
    path = "/api/v1/sse/executions/run-1/stream"
    writer.write("\r\n".join([f"GET {path} HTTP/1.0", *lines, "", ""]).encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"chunked" not in head.lower()
    await reader.readuntil(b"\n\n")
    payload = producer_message("execution:completed")
    await redis.publish("execution:run-1", payload)
    [end] = parse_sse(await reader.read())
    assert end.event == "execution:completed"
    assert end.data.encode().endswith(payload[1:])
    writer.close()


async def test_reader_that_leaves(gateway: RunningGateway) -> None:
    """A reader that leaves is gone from the hub at once: its handler is cancelled."""
    reader = await gateway.open("run-1")
    assert len(gateway.components.hub) == 1
    reader.response.close()
    await eventually(lambda: len(gateway.components.hub) == 0)
    assert gateway.components.metrics.streams_closed == {"gone": 1}


async def test_query_credentials(gateway: RunningGateway) -> None:
    """A native EventSource, which sets no headers, brings its credentials in the query."""
    given = credentials()
    query = {
        "Authorization": given["Authorization"],
        "organization_id": given["X-Organization-ID"],
    }
    async with gateway.session.get(gateway.stream_url("run-1"), params=query) as response:
        assert response.status == 200


async def test_headers_win(gateway: RunningGateway) -> None:
    """Credentials in headers win over those in the query."""
    query = {"Authorization": "Bearer nonsense", "organization_id": "nobody"}
    async with gateway.session.get(
        gateway.stream_url("run-1"), params=query, headers=credentials()
    ) as response:
        assert response.status == 200


async def test_registered_while_waiting(start_gateway: StartGateway, redis: Redis) -> None:
    """A stream opened before its execution is registered opens with it, and misses no event."""
    gateway = await start_gateway(ownership_wait_seconds=5)
    opening = asyncio.ensure_future(gateway.open("run-1"))
    await eventually(lambda: len(gateway.components.hub) == 1)
    await register(redis, "run-1", "acme", "workflow-1")
    await redis.publish("execution:run-1", producer_message("step:started"))
    reader = await opening
    await reader.expect("step:started")


async def test_500_streams_on_50_executions(start_gateway: StartGateway, redis: Redis) -> None:
    """500 streams on 50 executions at once each get exactly their own events, in order, over one
    subscription connection and a small pool."""
    # So many at once take a busy machine longer than the tests' usual wait.
    gateway = await start_gateway(ownership="token", ownership_wait_seconds=10)
    readers = await asyncio.gather(*[gateway.open(f"run-{n % 50}") for n in range(500)])
    async with redis.pipeline(transaction=False) as pipeline:
        for number in range(20):
            for run in range(50):
                message = producer_message("step:started", run=run, number=number)
                pipeline.publish(f"execution:run-{run}", message)
        for run in range(50):
            pipeline.publish(f"execution:run-{run}", producer_message("execution:completed"))
        await pipeline.execute()
    for index, reader in enumerate(readers):
        *steps, end = await reader.rest()
        expected = [{"run": index % 50, "number": number} for number in range(20)]
        assert [step.json()["data"] for step in steps] == expected
        assert end.event == "execution:completed"
    clients = await redis.client_list()
    assert len([client for client in clients if client["psub"] == "1"]) == 1
    assert len(clients) <= 8 + 1 + 2


async def test_a_message_reaches_only_its_execution(gateway: RunningGateway, redis: Redis) -> None:
    """Channels that only look alike reach nobody else."""
    reader = await gateway.open("run-1")
    for name in (
        "execution:run-11",
        "execution:run",
        "execution:run-1:x",
        "run-1",
        "Execution:run-1",
    ):
        await redis.publish(name, producer_message("step:started", channel=name))
    await redis.publish("execution:run-1", producer_message("execution:completed"))
    assert [event.event for event in await reader.rest()] == ["execution:completed"]


async def test_glob_characters_in_the_prefix(start_gateway: StartGateway, redis: Redis) -> None:
    """A channel prefix is taken literally, though Redis subscribes by pattern."""
    gateway = await start_gateway(ownership="token", channel_prefix="e[x]*?\\:")
    reader = await gateway.open("run-1")
    await redis.publish("ex:run-1", producer_message("step:started"))
    await redis.publish("e[x]*?\\:run-1", producer_message("execution:completed"))
    assert [event.event for event in await reader.rest()] == ["execution:completed"]


async def test_only_one_pattern_subscription(gateway: RunningGateway, redis: Redis) -> None:
    """However many streams are open, Redis has one pattern subscription of this gateway."""
    for number in range(20):
        await gateway.open(f"run-{number}")
    assert await redis.pubsub_numpat() == 1
