"""A list on a stream: a snapshot, then what changes."""

import asyncio
import gc
import socket
from itertools import count

import pytest
from redis.asyncio import Redis

from gateway.bus.registry import register
from gateway.contract.keys import list_order_key
from gateway.lists.stream import ListStream
from gateway.publisher import Publisher
from gateway.ticker import PERIOD
from tests.conftest import StartGateway
from tests.lists.support import ListClient, listed, play
from tests.support import eventually


@pytest.fixture(params=["pattern", "execution"])
def subscription(request: pytest.FixtureRequest) -> str:
    """All of this holds in both ways to subscribe."""
    return str(request.param)


async def test_a_stream_shows_a_run_from_its_registration_to_its_end(
    start_gateway: StartGateway, redis: Redis, redis_url: str
) -> None:
    client = ListClient(await start_gateway())
    await register(redis, "run-0", "acme")
    tab = await client.stream()
    assert await tab.read() == "executions:snapshot"
    assert tab.ids == ["run-0"]
    async with Publisher(redis_url, publish_to="both") as publisher:
        await register(redis, "run-1", "acme")
        await tab.until(lambda shown: "run-1" in shown)
        await play(publisher, "run-1")
        await tab.until(lambda shown: shown["run-1"]["status"] == "failed")
    assert tab.ids == ["run-1", "run-0"]
    assert tab.shown["run-1"]["steps_failed"] == 1
    assert "execution:added" in tab.kinds


async def test_an_end_moves_a_run_to_the_top_while_somebody_looks(
    start_gateway: StartGateway, redis: Redis, redis_url: str, subscription: str
) -> None:
    """What an open list finds out by itself, before the event is noted in the index, does not keep
    the run in its place."""
    client = ListClient(await start_gateway(subscription=subscription))
    for execution_id in ("run-1", "run-2"):
        await register(redis, execution_id, "acme")
    await redis.zincrby(list_order_key("acme"), -10_000, "run-1")
    tab = await client.stream()
    assert await tab.read() == "executions:snapshot"
    async with Publisher(redis_url, publish_to="both") as publisher:
        await publisher.publish("run-1", "execution:completed", {})
        await tab.until(lambda shown: shown["run-1"]["status"] == "completed")
        await listed(client, "run-1", "run-2")
    await tab.until(lambda _: tab.ids == ["run-1", "run-2"])


async def test_an_execution_is_updated_four_times_a_second_whatever_others_do(
    start_gateway: StartGateway, redis: Redis, redis_url: str
) -> None:
    """Beside it others end, which is shown at once, and tabs open the list."""
    client = ListClient(await start_gateway())
    ends = [f"run-{number}" for number in range(20)]
    for execution_id in ("busy", *ends):
        await register(redis, execution_id, "acme")
    tab = await client.stream()
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with Publisher(redis_url, publish_to="both") as publisher:
        for execution_id in ends:
            await publisher.publish("busy", "step:started", {"node_id": execution_id})
            await publisher.publish(execution_id, "execution:completed", {})
            await client.stream()
            await publisher.publish("busy", "step:completed", {"node_id": execution_id})
        await publisher.publish("busy", "execution:completed", {})
        took = loop.time() - began
        updates = 0
        while tab.shown.get("busy", {}).get("status") != "completed":
            kind = await tab.read()
            updates += kind == "execution:updated" and tab.last == "busy"
    assert tab.shown["busy"]["steps_completed"] == len(ends)
    # The first one and the last one are shown at once.
    assert updates <= 4 * took + 4, (updates, took)


async def test_a_list_is_a_stream_like_any_other(
    start_gateway: StartGateway, redis: Redis, redis_url: str
) -> None:
    """Limits count it, operators see it, silence brings a heartbeat, a stop closes it, and what it
    follows counts as no stream; its end is counted once."""
    gateway = await start_gateway(
        max_streams_per_subject=1, heartbeat_seconds=0.5, admin_port=0, ownership_wait_seconds=0.5
    )
    client = ListClient(gateway)
    await register(redis, "run-1", "acme")
    tab = await client.stream()
    await tab.reader.expect("executions:snapshot")
    url = client.url.replace("/api/v1/", "/api/v1/sse/") + "/stream"
    async with gateway.session.get(url, headers=client.headers) as response:
        assert (await response.json())["error"] == "subject_limit"
    await tab.reader.expect("heartbeat")
    async with gateway.session.get(f"{gateway.server.admin_url}/streams") as response:
        [shown] = (await response.json())["streams"]
    assert (shown["organization_id"], shown["state"]) == ("acme", "live")
    async with Publisher(redis_url, publish_to="both") as publisher:
        await publisher.publish("run-1", "step:started", {"node_id": "a"})
        await tab.reader.expect("execution:updated")
    metrics = gateway.components.metrics
    assert (metrics.events_delivered, metrics.streams_opened) == (0, 1)
    stopping = asyncio.create_task(gateway.server.stop())
    assert (await tab.reader.expect("stream:closing")).json()["reason"] == "drain"
    await stopping
    assert metrics.streams_closed == {"drain": 1}


async def test_who_does_not_read_gets_all_of_it_later(
    start_gateway: StartGateway, redis: Redis, redis_url: str
) -> None:
    """A reader that is blocked misses changes, costs no memory meanwhile, and is shown the list as
    it is when it reads on."""
    gateway = await start_gateway(send_buffer_bytes=4096, write_timeout_seconds=30)
    client = ListClient(gateway)
    for number in range(100):
        await register(redis, f"run-{number}", "acme", "w" * 200)
    url = client.url.removeprefix(gateway.url).replace("/api/v1/", "/api/v1/sse/") + "/stream"
    head = "".join(f"{name}: {value}\r\n" for name, value in client.headers.items())
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", int(gateway.url.rpartition(":")[2])))
        reader, writer = await asyncio.open_connection(sock=sock.dup(), limit=4096)
    writer.write(f"GET {url} HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode())
    [stream] = await eventually(lambda: list(gateway.components.hub))
    assert isinstance(stream, ListStream)
    async with Publisher(redis_url, publish_to="both") as publisher:
        # Its socket takes no more at some moment: then nothing waits for it.
        for turn in count():
            node = {"node_id": f"{turn}"}
            await asyncio.gather(
                *(publisher.publish(f"run-{n}", "step:started", node) for n in range(100))
            )
            if stream._misses:
                break
            assert not stream.is_ending, gateway.components.metrics.streams_closed
            # Else a busy machine publishes faster than lists are brought up to date.
            await asyncio.sleep(PERIOD)
        await publisher.publish("run-7", "execution:failed", {"error": "the last word"})
        assert stream.queue is None or stream.queue.bytes < 100_000
        data = b""
        async with asyncio.timeout(20):
            while b"the last word" not in data:
                data += await reader.read(65536)
    assert data.count(b"event: executions:snapshot") >= 2
    writer.transport.abort()


async def test_no_stream_of_a_list_waits_for_the_garbage_collector(
    start_gateway: StartGateway, redis: Redis
) -> None:
    """Nothing of it is left once it has ended: the collector comes seldom."""
    # The wheel of heartbeats lets go of it at its next visit.
    gateway = await start_gateway(heartbeat_seconds=0.5)
    client = ListClient(gateway)
    await register(redis, "run-1", "acme")
    gc.disable()
    try:
        tab = await client.stream()
        await tab.reader.expect("executions:snapshot")
        gateway.close_streams()
        await eventually(lambda: not len(gateway.components.hub))
        await eventually(
            lambda: (
                not [
                    one
                    for one in gc.get_objects()
                    # Those of other tests may be left.
                    if isinstance(one, ListStream) and one.hub is gateway.components.hub
                ]
            )
        )
    finally:
        gc.enable()
