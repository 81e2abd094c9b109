"""How long a start takes, beside the imports that the customer's packages alone need."""

import asyncio
import os
import time
from statistics import median

import aiohttp

from tests.bench.figures import Figure
from tests.bench.processes import python
from tests.bench.stage import Stage
from tests.support import free_port

PACKAGES = "aiohttp, aiohttp_cors, jwt, orjson, redis.asyncio"


async def play(stage: Stage) -> None:
    """In turn, so that both meet the same machine."""
    pairs = [(await _healthy(stage), await _imported(stage)) for _ in range(stage.size(15, 2))]
    stage.add(
        Figure(
            "start: until healthy / the imports", median(a / b for a, b in pairs), "x", most=1.3
        ),
        Figure("start: until healthy", median(a for a, _ in pairs), "s"),
    )


async def _healthy(stage: Stage) -> float:
    """Seconds from `exec` until a gateway says that it is healthy."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/api/v1/sse/health"
    gateway = stage.make_gateway(port)
    async with aiohttp.ClientSession() as session:
        begin = time.monotonic()
        starting = asyncio.ensure_future(gateway.start())
        while not await _says_healthy(session, url):
            await asyncio.sleep(0.002)
        seconds = time.monotonic() - begin
        await starting
    await gateway.stop()
    return seconds


async def _says_healthy(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


async def _imported(stage: Stage) -> float:
    """Seconds in which Python starts, imports these packages and ends."""
    begin = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *python("-c", f"import os, {PACKAGES}; os._exit(0)"),
        preexec_fn=lambda: os.sched_setaffinity(0, {stage.core}),
    )
    assert await process.wait() == 0
    return time.monotonic() - begin
