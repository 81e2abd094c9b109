"""200 malformed requests: each gets an answer or an end, no stream notices, no token is logged."""

import asyncio
import random
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis

from tests.conftest import RunningGateway, credentials
from tests.support import SECRET, producer_message

_TOKEN = credentials()["Authorization"].removeprefix("Bearer ")
_PATH = "/api/v1/sse/executions/run-1/stream"
_QUERY = f"{_PATH}?Authorization=Bearer%20{_TOKEN}&organization_id=acme"

MALFORMED = [
    b"\r\n\r\n",
    b"GET\r\n\r\n",
    f"GET {_QUERY}\r\n\r\n".encode(),
    f"GET {_QUERY} HTTP/9.9\r\n\r\n".encode(),
    f"GET {_QUERY} extra words HTTP/1.1\r\n\r\n".encode(),
    f"G\x00T {_QUERY} HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
    f"GET {_QUERY} HTTP/1.1\r\nBad Header\r\n\r\n".encode(),
    f"GET {_QUERY} HTTP/1.1\r\nHost: x\r\nA: \x00\r\n\r\n".encode(),
    f"GET {_PATH}?{'x' * 20000}&token={_TOKEN} HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
    f"GET {_PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {_TOKEN}\x01\r\n\r\n".encode(),
    f"GET {_PATH} HTTP/1.1\r\nHost: x\r\nX: {'y' * 20000}\r\n\r\n".encode(),
    b"GET / HTTP/1.1\r\n" + b"".join(b"h%d: v\r\n" % n for n in range(500)) + b"\r\n",
    b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "GÉT /é HTTP/1.1\r\n\r\n".encode(),
]


def _mutations(count: int) -> list[bytes]:
    """Well-formed requests with some bytes exchanged; the same ones in each run."""
    choose = random.Random(1)
    whole = f"GET {_QUERY} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n".encode()
    requests = []
    for _ in range(count):
        request = bytearray(whole)
        for _ in range(choose.randint(1, 8)):
            request[choose.randrange(len(request))] = choose.randrange(256)
        requests.append(bytes(request))
    return requests


async def test_malformed_requests(
    gateway: RunningGateway, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """200 malformed requests end no stream and raise nothing; the gateway serves on, and neither
    the token nor the secret is in a log."""
    caplog.set_level("DEBUG")
    reader = await gateway.open("run-1")
    components = urlsplit(gateway.url)

    async def send(request: bytes) -> None:
        incoming, outgoing = await asyncio.open_connection(components.hostname, components.port)
        outgoing.write(request)
        outgoing.write_eof()
        try:
            await asyncio.wait_for(incoming.readuntil(b"\r\n"), 5)
        except (asyncio.IncompleteReadError, ConnectionResetError):
            pass
        finally:
            outgoing.close()

    requests = MALFORMED + _mutations(200 - len(MALFORMED))
    for begin in range(0, len(requests), 20):
        await asyncio.gather(*[send(one) for one in requests[begin : begin + 20]])
    await redis.publish("execution:run-1", producer_message("execution:completed"))
    assert [event.event for event in await reader.rest()] == ["execution:completed"]
    assert await gateway.healthy()
    assert _TOKEN not in caplog.text
    assert _TOKEN.rpartition(".")[0] not in caplog.text
    assert SECRET not in caplog.text
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]
