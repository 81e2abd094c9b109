"""Readers that do not read, and readers that vanish: closed, and nobody else notices."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from functools import partial
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis

from gateway.events.sse_encoder import CloseReason
from gateway.fanout.state import State
from gateway.fanout.subscriber import Subscriber
from tests.conftest import RunningGateway, StartGateway, credentials
from tests.harness.history import append
from tests.support import eventually, missing, producer_message


def _received(gateway: RunningGateway, events: int) -> bool:
    return gateway.components.metrics.events_received == events


def frozen_reader(gateway: RunningGateway, execution_id: str) -> socket.socket:
    """A connection that asks for a stream and never reads it, with a small receive buffer."""
    components = urlsplit(gateway.url)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((components.hostname, components.port))
    lines = [f"{name}: {value}" for name, value in credentials().items()]
    path = f"/api/v1/sse/executions/{execution_id}/stream"
    connection.sendall("\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *lines, "", ""]).encode())
    return connection


def queued(subscriber: Subscriber) -> int:
    """Events in its queue."""
    return subscriber.snapshot(0).queue_events


async def test_frozen_reader(start_gateway: StartGateway, redis: Redis) -> None:
    """A reader that does not read for the write timeout is closed, and the others on the same
    execution get every event meanwhile."""
    gateway = await start_gateway(
        ownership="token", write_timeout_seconds=0.5, send_buffer_bytes=8192
    )
    frozen = frozen_reader(gateway, "run-1")
    await eventually(lambda: len(gateway.components.hub) == 1)
    quick = await gateway.open("run-1")
    message = producer_message("step:completed", output="x" * 20_000)
    sent = 0
    while len(gateway.components.hub) == 2:
        await redis.publish("execution:run-1", message)
        sent += 1
        assert (await quick.expect("step:completed")).data.encode().endswith(message[1:])
        assert sent < 5000
    assert gateway.components.metrics.streams_closed == {CloseReason.SLOW_READER: 1}
    frozen.close()


async def test_frozen_from_the_beginning(start_gateway: StartGateway, redis: Redis) -> None:
    """A reader that does not even read the history that its stream begins with is closed too."""
    gateway = await start_gateway(
        ownership="token", write_timeout_seconds=0.5, send_buffer_bytes=8192
    )
    for _ in range(4):
        await append(redis, "run-1", output="x" * 200_000)
    reader = frozen_reader(gateway, "run-1")
    await eventually(lambda: len(gateway.components.hub) == 1)
    await eventually(lambda: len(gateway.components.hub) == 0)
    assert gateway.components.metrics.streams_closed == {CloseReason.SLOW_READER: 1}
    reader.close()


async def test_what_comes_waits_in_the_queue(start_gateway: StartGateway, redis: Redis) -> None:
    """Once the kernel has not taken everything, what comes waits in the reader's bounded queue, not
    in the connection; when it is full the reader catches up later."""
    gateway = await start_gateway(
        ownership="token", queue_events=5, send_buffer_bytes=8192, write_timeout_seconds=30
    )
    await append(redis, "run-1")
    # On a cluster it comes after a moment, and would be counted with those that follow.
    await eventually(partial(_received, gateway, 1))
    frozen = frozen_reader(gateway, "run-1")
    await eventually(lambda: [one for one in gateway.components.hub if one.state is State.LIVE])
    [subscriber] = gateway.components.hub
    assert isinstance(subscriber, Subscriber)
    message = producer_message("step:completed", output="x" * 20_000)
    before = gateway.components.metrics.events_received
    waiting: list[int] = []
    while subscriber.state is State.LIVE:
        await redis.publish("execution:run-1", message)
        # One by one: a burst that comes when nothing waits may be larger than the queue.
        expected = before + len(waiting) + 1
        await eventually(partial(_received, gateway, expected))
        waiting.append(queued(subscriber))
        assert len(waiting) < 20
    # The kernel has taken the first few whole; the one that was full for is in history.
    assert [n for n in waiting if n] == [1, 2, 3, 4, 5, 5]
    assert gateway.components.metrics.queue_overruns == 1
    frozen.close()


async def test_slow_reader_catches_up(start_gateway: StartGateway, redis: Redis) -> None:
    """A reader slower than its bounded queue allows gets every event all the same, in order, from
    history."""
    gateway = await start_gateway(
        ownership="token", queue_events=5, send_buffer_bytes=8192, write_timeout_seconds=30
    )
    slow = frozen_reader(gateway, "run-1")
    await eventually(lambda: len(gateway.components.hub) == 1)
    number = 0
    while not gateway.components.metrics.queue_overruns:
        message = producer_message("step:completed", number=number, output="x" * 20_000)
        await redis.publish("execution:run-1", message)
        number += 1
    for _ in range(20):
        message = producer_message("step:completed", number=number, output="x" * 20_000)
        await redis.publish("execution:run-1", message)
        number += 1
    await redis.publish("execution:run-1", producer_message("execution:completed"))
    reader, writer = await asyncio.open_connection(sock=slow, limit=2**26)
    text = (await reader.readuntil(b"\r\n0\r\n\r\n")).decode()
    found = [int(part.partition(",")[0]) for part in text.split('"number":')[1:]]
    assert found == list(range(number))
    assert "execution:completed" in text
    writer.close()


async def test_slow_reader_out_of_history(start_gateway: StartGateway, redis: Redis) -> None:
    """A reader so slow that history no longer has what it needs is closed with `history_lost`."""
    gateway = await start_gateway(
        ownership="token",
        queue_events=5,
        send_buffer_bytes=8192,
        write_timeout_seconds=30,
        history_max_bytes=100_000,
        kept_bytes=0,
    )
    slow = frozen_reader(gateway, "run-1")
    await eventually(lambda: len(gateway.components.hub) == 1)
    message = producer_message("step:completed", output="x" * 20_000)
    while not gateway.components.metrics.queue_overruns:
        await redis.publish("execution:run-1", message)
    for _ in range(20):
        await redis.publish("execution:run-1", message)
    reader, writer = await asyncio.open_connection(sock=slow, limit=2**26)
    text = (await reader.readuntil(b"\r\n0\r\n\r\n")).decode()
    assert "history_lost" in text.rpartition("stream:closing")[2]
    writer.close()


_VANISH = """
import socket, sys, time
host, port, request = sys.argv[1], int(sys.argv[2]), sys.argv[3]
connection = socket.create_connection((host, port))
connection.sendall(request.encode())
while b"connected" not in connection.recv(65536): pass
print("open", flush=True)
time.sleep(600)
"""


@pytest.fixture
def network() -> object:
    """A host of the test's own, reached over a cable (veth) that can be pulled."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        missing("pulling a cable needs root and iproute2")

    def ip(*words: str, check: bool = True) -> None:
        subprocess.run(["ip", *words], check=check, capture_output=True)

    try:
        ip("netns", "add", "gwtest")
    except subprocess.CalledProcessError:
        missing("network namespaces are not allowed here")
    ip("link", "add", "gwtest0", "type", "veth", "peer", "name", "gwtest1", "netns", "gwtest")
    ip("addr", "add", "198.18.77.1/30", "dev", "gwtest0")
    ip("link", "set", "gwtest0", "up")
    ip("-n", "gwtest", "addr", "add", "198.18.77.2/30", "dev", "gwtest1")
    ip("-n", "gwtest", "link", "set", "gwtest1", "up")
    yield ip
    ip("netns", "pids", "gwtest", check=False)
    ip("link", "del", "gwtest0", check=False)
    ip("netns", "del", "gwtest", check=False)


async def test_vanished_without_fin(start_gateway: StartGateway, network: object) -> None:
    """A client that vanishes without a FIN is noticed by its heartbeats and closed."""
    gateway = await start_gateway(
        ownership="token", host="198.18.77.1", heartbeat_seconds=0.3, peer_timeout_seconds=2
    )
    components = urlsplit(gateway.url)
    lines = [f"{name}: {value}" for name, value in credentials().items()]
    path = "/api/v1/sse/executions/run-1/stream"
    request = "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *lines, "", ""])
    client = await asyncio.create_subprocess_exec(
        *["ip", "netns", "exec", "gwtest", sys.executable, "-c", _VANISH],
        *[str(components.hostname), str(components.port), request],
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert client.stdout is not None
        assert await asyncio.wait_for(client.stdout.readline(), 10) == b"open\n"
        assert len(gateway.components.hub) == 1
        network("-n", "gwtest", "link", "set", "gwtest1", "down")  # type: ignore[operator]
        await eventually(lambda: len(gateway.components.hub) == 0)
    finally:
        client.kill()
        await client.wait()
