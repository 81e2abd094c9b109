"""Requests sent on one connection without waiting for answers: they cost what a few of them do."""

import asyncio
import socket
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientSession
from redis.asyncio import Redis

from tests.conftest import RunningGateway, credentials
from tests.harness.gateway_process import serving
from tests.harness.proc import rss_kib
from tests.harness.raw import GET, HEALTH, STREAM, Connection
from tests.support import producer_message

FLOOD = 64 * 1024 * 1024
"""Bytes: several times what the kernel keeps of a connection."""
MOST_MEMORY = 24 * 1024 * 1024
"""Bytes that the gateway may grow by; without a bound each request of 50 bytes took thousands."""


@pytest.mark.parametrize("is_open", [False, True], ids=["with it", "later"])
async def test_behind_an_open_stream(redis_url: str, is_open: bool) -> None:
    """What is sent together with a request whose answer never ends is not read, beyond a few
    requests; what is sent once it has begun is thrown away. Memory stays, and others are
    answered."""
    settings = {"REDIS_URL": redis_url, "GATEWAY_OWNERSHIP": "token"}
    loop = asyncio.get_running_loop()
    async with serving(**settings) as process, ClientSession() as session:
        await process.healthy(session)
        before = rss_kib(process.pid) * 1024
        head = "".join(f"{name}: {value}\r\n" for name, value in credentials().items())
        address = urlsplit(process.url)
        with socket.create_connection((address.hostname or "", address.port or 0)) as client:
            client.setblocking(False)
            opening = f"GET {STREAM} HTTP/1.1\r\nHost: gateway\r\n{head}\r\n".encode()
            if is_open:
                await loop.sock_sendall(client, opening)
                while b"event: connected" not in await loop.sock_recv(client, 4096):
                    pass
                await flood(client)
            else:
                # In one piece: the stream opens within a millisecond.
                await loop.sock_sendall(client, opening + f"{GET}\r\n".encode() * 1000)
                assert await flood(client) < FLOOD
            assert rss_kib(process.pid) * 1024 - before < MOST_MEMORY
            async with session.get(process.url + HEALTH) as response:
                assert response.status == 200


async def flood(client: socket.socket) -> int:
    """Send requests until all are taken or nothing is taken for a second; how many bytes were."""
    loop = asyncio.get_running_loop()
    requests = f"{GET}\r\n".encode() * 1000
    sent = 0
    try:
        while sent < FLOOD:
            async with asyncio.timeout(1):
                await loop.sock_sendall(client, requests)
            sent += len(requests)
    except TimeoutError:
        pass
    return sent


async def test_all_are_answered(gateway: RunningGateway, redis: Redis) -> None:
    """Each of 1,000 requests sent at once is answered, in order, and a stream gets its events
    meanwhile: no connection has the event loop to itself."""
    reader = await gateway.open("run-1")
    connection = await Connection.open(gateway.url)
    connection.send(f"{GET}\r\n" * 999 + f"{GET}Connection: close\r\n\r\n")
    heard = asyncio.create_task(connection.hear(answers=1000))
    for number in range(10):
        await redis.publish("execution:run-1", producer_message("step:started", number=number))
        event = await reader.expect("step:started", timeout=2)
        assert event.json()["data"] == {"number": number}
    assert (await heard).statuses == [200] * 1000
    connection.close()
