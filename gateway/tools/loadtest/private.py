"""The load test's own gateway and Redis, on loopback.

The gateway is a separate process (this module as a program), so that the load beside it does not
distort the figures. It has the default settings: the user's `GATEWAY_...` variables, which are for
another gateway, are left out. It ends with the block, and with the load test however that ends.
"""

import asyncio
import contextlib
import os
import secrets
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from tempfile import TemporaryFile
from typing import IO

from gateway import log, server
from gateway.access.tokens import issue
from gateway.embedded import EmbeddedRedis
from gateway.errors import GatewayError
from gateway.process import raise_file_limit
from gateway.settings import PREFIX, Settings, load
from gateway.tools.loadtest.plan import Target

_START_TIMEOUT = 20.0
_STOP_TIMEOUT = 10.0
_ORGANIZATION = "loadtest"


class PrivateGatewayFailed(GatewayError):
    """The load test's own gateway did not start; `str(error)` ends with its output."""


@asynccontextmanager
async def private_gateway(token_seconds: float) -> AsyncIterator[Target]:
    """Run a gateway and a Redis for it; the target's token is valid for *token_seconds*.

    Raises:
        PrivateGatewayFailed: the gateway did not start.
        GatewayError: the embedded Redis did not start.
    """
    redis = await EmbeddedRedis.start()
    try:
        secret = secrets.token_hex(32)
        token = issue(secret, organization_id=_ORGANIZATION, ttl_seconds=int(token_seconds))
        async with gateway_process(redis.url, secret) as url:
            yield Target(url=url, publish_url=redis.url, organization=_ORGANIZATION, token=token)
    finally:
        await redis.stop()


@asynccontextmanager
async def gateway_process(redis_url: str, secret: str) -> AsyncIterator[str]:
    """Run a gateway in another process, on a free port; the value is its URL.

    Raises:
        PrivateGatewayFailed: it ended, or did not listen in time.
    """
    with TemporaryFile() as errors:
        process = await _start(redis_url, secret, errors)
        try:
            yield await _listening(process, errors)
        finally:
            await _stop(process)


async def _start(redis_url: str, secret: str, errors: IO[bytes]) -> Process:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(PREFIX)}
    own = {
        "REDIS_URL": redis_url,
        f"{PREFIX}JWT_SECRET": secret,
        f"{PREFIX}PORT": "0",
        f"{PREFIX}ADMIN_PORT": "off",
        f"{PREFIX}LOG_LEVEL": "warning",
    }
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.tools.loadtest.private"),
        env=inherited | own,
        stdin=PIPE,
        stdout=PIPE,
        stderr=errors,
        # Ctrl-C is for the load test, which then stops its gateway cleanly.
        start_new_session=True,
    )


async def _listening(process: Process, errors: IO[bytes]) -> str:
    """Its URL, once it listens. The first stream waits until its subscription is confirmed."""
    url = b""
    if process.stdout is not None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_START_TIMEOUT):
                url = await process.stdout.readline()
    if not url:
        errors.seek(0)
        output = errors.read().decode(errors="replace").strip() or "it printed nothing."
        raise PrivateGatewayFailed(f"The load test's own gateway did not start: {output}")
    return url.decode().strip()


async def _stop(process: Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(_STOP_TIMEOUT):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def main() -> None:
    """Serve with the settings of the environment, until SIGTERM or the end of standard input."""
    try:
        settings = load()
        log.configure(settings.log_format, settings.log_level)
        raise_file_limit()
        server.run(settings, _ready, reread=lambda: settings)
    except GatewayError as error:
        sys.exit(str(error))


def _ready(running: server.Server, _: Settings) -> None:
    asyncio.get_running_loop().add_reader(sys.stdin, _parent_ended)
    print(running.url, flush=True)


def _parent_ended() -> None:
    asyncio.get_running_loop().remove_reader(sys.stdin)
    signal.raise_signal(signal.SIGTERM)


if __name__ == "__main__":
    main()
