"""A gateway of the load test's own, for whoever has none running: real processes on loopback.

The gateway runs in a process of its own, so that it is measured and not the load beside it. It is
started with production's defaults; what the user's environment sets for another gateway is left
out. It does not survive the block.
"""

import asyncio
import os
import secrets
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from tempfile import TemporaryFile
from typing import IO

from gateway.access.tokens import issue
from gateway.dev.embedded import EmbeddedRedis
from gateway.errors import GatewayError
from gateway.loadtest.plan import Target
from gateway.settings import PREFIX

_START_TIMEOUT = 20.0
_STOP_TIMEOUT = 10.0
_POLL = 0.05
_ORGANIZATION = "loadtest"
_HEALTH = b"GET /api/v1/sse/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class PrivateGatewayFailed(GatewayError):
    """The gateway of the load test's own did not start; `str(error)` ends with what it said."""


@asynccontextmanager
async def private_gateway(token_seconds: float) -> AsyncIterator[Target]:
    """Run a gateway and a Redis for it; the target's token is valid for *token_seconds*.

    Raises:
        PrivateGatewayFailed: the gateway ended, or did not become healthy in time.
        GatewayError: the embedded Redis did not start.
    """
    redis = await EmbeddedRedis.start()
    try:
        secret, port = secrets.token_hex(32), _free_port()
        with TemporaryFile() as said:
            process = await _start(redis.url, secret, port, said)
            try:
                await _healthy(process, port, said)
                yield Target(
                    url=f"http://127.0.0.1:{port}",
                    publish_url=redis.url,
                    organization=_ORGANIZATION,
                    token=issue(
                        secret, organization_id=_ORGANIZATION, ttl_seconds=int(token_seconds)
                    ),
                )
            finally:
                await _stop(process)
    finally:
        await redis.stop()


async def _start(redis_url: str, secret: str, port: int, said: IO[bytes]) -> Process:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(PREFIX)}
    environment = {
        **inherited,
        "REDIS_URL": redis_url,
        f"{PREFIX}JWT_SECRET": secret,
        f"{PREFIX}PORT": str(port),
        f"{PREFIX}LOG_LEVEL": "warning",
    }
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.cli.main", "serve"),
        env=environment,
        stdin=DEVNULL,
        stdout=said,
        stderr=said,
        # Ctrl-C is for the load test, which then stops its gateway in good order.
        start_new_session=True,
    )


async def _healthy(process: Process, port: int, said: IO[bytes]) -> None:
    """Wait until its health endpoint says 200."""
    try:
        async with asyncio.timeout(_START_TIMEOUT):
            while process.returncode is None:
                if await _answers(port):
                    return
                await asyncio.sleep(_POLL)
    except TimeoutError:
        pass
    said.seek(0)
    words = said.read().decode(errors="replace").strip() or "it said nothing"
    raise PrivateGatewayFailed(f"The private gateway did not start: {words}")


async def _answers(port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        writer.write(_HEALTH)
        return (await reader.readline()).split(b" ")[1:2] == [b"200"]
    except ConnectionError:
        return False
    finally:
        writer.close()


async def _stop(process: Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(_STOP_TIMEOUT):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _free_port() -> int:
    """A port that was free a moment ago; a gateway that finds it taken says so and ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
