"""Garbage on connections: it is answered or cut, and the gateway keeps nothing of it."""

import asyncio
import sys
import time
from urllib.parse import urlsplit

import aiohttp
import pytest
from redis.asyncio import Redis

from tests.conftest import credentials
from tests.harness.gateway_process import GatewayProcess, serving
from tests.harness.proc import cpu_seconds, rss_kib
from tests.harness.sse import SseReader
from tests.process.garbage import KINDS, open_bad, open_many
from tests.support import producer_message

WITHOUT_COLLECTOR = (sys.executable, "-m", "tests.process.without_collector")
AT_ONCE = 8
KEPT = 5 * 1024 * 1024
"""Bytes by which resident memory may differ."""


def _address(process: GatewayProcess) -> tuple[str, int]:
    components = urlsplit(process.url)
    assert components.hostname is not None
    assert components.port is not None
    return components.hostname, components.port


async def _many(process: GatewayProcess, count: int) -> int:
    """Open *count* bad connections; the gateway's resident bytes after that."""
    host, port = _address(process)
    share = count // AT_ONCE
    opening = [asyncio.to_thread(open_many, host, port, share) for _ in range(AT_ONCE)]
    await asyncio.gather(*opening)
    # Of those that did not wait, too, nothing is left to be done.
    async with aiohttp.ClientSession() as session:
        await process.healthy(session)
    return rss_kib(process.pid) * 1024


def _settings(redis_url: str) -> dict[str, str]:
    return {
        "REDIS_URL": redis_url,
        "GATEWAY_OWNERSHIP": "token",
        # So that a body that cannot be parsed is waited for no longer.
        "GATEWAY_HEADER_TIMEOUT_SECONDS": "1",
        # Nobody reads its log here, and a full pipe would stop it.
        "GATEWAY_LOG_LEVEL": "warning",
    }


@pytest.mark.timeout(180)
async def test_bad_connections_leave_no_memory(redis_url: str, redis: Redis) -> None:
    """With the garbage collector off, the gateway has no more memory after 10,000 bad connections
    of all kinds than after 1,000, and a stream that was open all the time has missed nothing."""
    async with (
        serving(*WITHOUT_COLLECTOR, **_settings(redis_url)) as process,
        aiohttp.ClientSession() as session,
    ):
        await process.healthy(session)
        url = f"{process.url}/api/v1/sse/executions/run-1/stream"
        reader = SseReader(await session.get(url, headers=credentials()))
        await reader.expect("connected")
        # What the process keeps for itself, such as buffers, it has after these.
        after_1000 = await _many(process, 1000)
        after_10000 = await _many(process, 9000)
        assert after_10000 - after_1000 < KEPT
        await redis.publish("execution:run-1", producer_message("execution:completed"))
        assert [seen.event for seen in await reader.rest()] == ["execution:completed"]


@pytest.mark.alone
async def test_garbage_delays_nobody(redis_url: str) -> None:
    """While 300 connections bring 256 KiB of garbage at once, health answers within a second, and
    all of them cost less than a second of CPU."""
    async with (
        serving(**_settings(redis_url)) as process,
        aiohttp.ClientSession() as session,
    ):
        await process.healthy(session)
        before = rss_kib(process.pid) * 1024
        began = cpu_seconds(process.pid)
        flood = asyncio.gather(
            *[asyncio.to_thread(open_bad, *_address(process), KINDS["A"]) for _ in range(300)]
        )
        longest = 0.0
        while not flood.done():
            asked = time.monotonic()
            await process.healthy(session)
            longest = max(longest, time.monotonic() - asked)
        await flood
        assert cpu_seconds(process.pid) - began < 1
        assert rss_kib(process.pid) * 1024 - before < 32 * 1024 * 1024
        assert longest < 1


ANSWERS = {
    "A": 400,
    "header without colon": 400,
    "long line": 414,
    "long header": 431,
    "long headers": 431,
    "many headers": 431,
    "method": 400,
    "NUL": 400,
    "lines": 431,
    "behind a good one": 200,
    "behind a stream": 401,
    "HTTP/2": 400,
    "TLS": 400,
    "upgrade": 200,
}


async def test_oversized_requests_are_answered(redis_url: str) -> None:
    """Each kind gets one answer, in the gateway's own form and without any of what was sent, and
    then the end of the connection."""
    async with (
        serving(**_settings(redis_url)) as process,
        aiohttp.ClientSession() as session,
    ):
        await process.healthy(session)
        for name, status in ANSWERS.items():
            answer = await asyncio.to_thread(open_bad, *_address(process), KINDS[name])
            assert answer.startswith(f"HTTP/1.1 {status} ".encode()), (name, answer[:200])
            assert answer.count(b"HTTP/1.1 ") == 1, name
            assert b"Server: sse-gateway\r\n" in answer
            assert b"AAAA" not in answer
