"""Thousands of connections that never bring a request, and one who wants to watch."""

import asyncio
import sys
from urllib.parse import urlsplit

import aiohttp
import pytest
from redis.asyncio import Redis

from tests.conftest import credentials
from tests.harness.gateway_process import serving
from tests.harness.sse import SseReader
from tests.support import DEADLINE, producer_message

CONNECTIONS = 3000
HEADER_TIMEOUT = 4.0
WITHIN = 2.0
"""Seconds in which a stream must be open, the flood notwithstanding."""


async def _watch(session: aiohttp.ClientSession, url: str) -> SseReader:
    """A new stream that has shown `connected` in time."""
    async with asyncio.timeout(WITHIN):
        reader = SseReader(await session.get(url, headers=credentials()))
        await reader.expect("connected")
    return reader


@pytest.mark.alone
async def test_half_open_connections_harm_nobody(redis_url: str, redis: Redis) -> None:
    """While 3,000 connections idle or send a byte a second, each from another process than the
    gateway's, streams open within 2 s; when their time is over they are cut, and streams live."""
    settings = {
        "REDIS_URL": redis_url,
        "GATEWAY_OWNERSHIP": "token",
        "GATEWAY_HEADER_TIMEOUT_SECONDS": str(HEADER_TIMEOUT),
    }
    async with serving(**settings) as process, aiohttp.ClientSession() as session:
        await process.healthy(session)
        url = f"{process.url}/api/v1/sse/executions/run-1/stream"
        first = await _watch(session, url)
        address = urlsplit(process.url)
        flood = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.process.half_open"),
            *(str(address.hostname), str(address.port), str(CONNECTIONS)),
            stdout=asyncio.subprocess.PIPE,
        )
        assert flood.stdout is not None
        try:
            opening = asyncio.create_task(flood.stdout.readline())
            await _watch_until(opening, session, url)
            assert opening.result() == b"open\n"
            cutting = asyncio.create_task(flood.stdout.readline())
            assert await _watch_until(cutting, session, url) > 3
            assert cutting.result() == b"cut\n"
        finally:
            if flood.returncode is None:
                flood.kill()
            await flood.wait()
        await redis.publish("execution:run-1", producer_message("execution:completed"))
        assert [seen.event for seen in await first.rest()] == ["execution:completed"]


async def _watch_until(task: asyncio.Task[bytes], session: aiohttp.ClientSession, url: str) -> int:
    """Open one stream after the other until *task* is done; how many."""
    opened = 0
    async with asyncio.timeout(DEADLINE):
        while not task.done():
            reader = await _watch(session, url)
            reader.response.close()
            opened += 1
            await asyncio.wait({task}, timeout=0.1)
    return opened
