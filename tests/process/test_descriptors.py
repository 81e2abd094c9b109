"""A gateway whose limit of open files is reached: it refuses, says so, and answers all the same."""

import asyncio
from contextlib import AsyncExitStack

import aiohttp
from redis.asyncio import Redis

from tests.conftest import credentials
from tests.harness.gateway_process import GatewayProcess, serving
from tests.harness.raw import GET, Connection
from tests.harness.sse import SseReader, parse_sse
from tests.support import producer_message

FILES = 256
LOW_LIMIT = ("sh", "-c", f'ulimit -n {FILES}; exec "$@"', "sh")
STREAMS = FILES - 64
"""What `sse-gateway check` says of this limit."""
LIMITED = "sse_gateway_refusals_total"


def _settings(redis_url: str) -> dict[str, str]:
    return {
        "REDIS_URL": redis_url,
        "GATEWAY_OWNERSHIP": "token",
        "GATEWAY_ADMIN_PORT": "0",
        "GATEWAY_HEADER_TIMEOUT_SECONDS": "30",
    }


async def _answers(process: GatewayProcess) -> None:
    """Health and the operators' address answer, each on a connection of its own."""
    for url in (
        f"{process.url}/api/v1/sse/health",
        f"{process.admin_url}/ready",
        f"{process.admin_url}/metrics",
    ):
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            assert response.status == 200, url


async def _refused(process: GatewayProcess, code: str) -> int:
    """How many refusals of this *code* the metrics count."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{process.admin_url}/metrics") as response,
    ):
        lines = (await response.text()).splitlines()
    counted = [line for line in lines if line.startswith(f'{LIMITED}{{code="{code}"}}')]
    return int(float(counted[0].split()[-1])) if counted else 0


async def test_streams_leave_a_reserve(redis_url: str, redis: Redis) -> None:
    """With 256 open files allowed, as many streams open as `check` says; further ones are refused
    with `limit`, with one line in the log; health, /ready and /metrics answer, and no stream that
    is open loses anything."""
    async with (
        serving(*LOW_LIMIT, **_settings(redis_url)) as process,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        await process.healthy(session)
        url = f"{process.url}/api/v1/sse/executions/run-1/stream"
        headers = {**credentials(), "Accept": "text/event-stream"}
        readers = []
        for _ in range(STREAMS):
            readers.append(SseReader(await session.get(url, headers=headers)))
            await readers[-1].expect("connected")
        for _ in range(FILES):
            async with session.get(url, headers=headers) as response:
                [closing] = parse_sse(await response.read())
            assert (closing.event, closing.json()["reason"]) == ("stream:closing", "limit")
        await _answers(process)
        assert await _refused(process, "limit_reached") == FILES
        await process.says("A stream is refused: 192 are open")
        await redis.publish("execution:run-1", producer_message("execution:completed"))
        for reader in readers:
            assert [seen.event for seen in await reader.rest()] == ["execution:completed"]
        process.signal(15)
        await process.ended()
        assert process.said.count("A stream is refused") == 1


async def _flood(url: str, count: int, text: str) -> AsyncExitStack:
    """*count* connections on which *text* is sent, and that stay open."""
    stack = AsyncExitStack()
    for _ in range(count):
        connection = await Connection.open(url)
        stack.push_async_callback(connection.closed)
        connection.send(text)
    return stack


async def test_idle_connections_make_room(redis_url: str, redis: Redis) -> None:
    """Three times as many idle connections as files are allowed, silent ones, with half a request
    and kept alive after an answer, on both addresses: the oldest are cut, streams stay, new ones
    open, and it is counted and logged."""
    async with (
        serving(*LOW_LIMIT, **_settings(redis_url)) as process,
        aiohttp.ClientSession() as session,
        AsyncExitStack() as stack,
    ):
        await process.healthy(session)
        url = f"{process.url}/api/v1/sse/executions/run-1/stream"
        first = SseReader(await session.get(url, headers=credentials()))
        await first.expect("connected")
        for address in (process.url, process.admin_url):
            for text in ("", GET, f"{GET}\r\n"):
                flood = await _flood(address, FILES, text)
                await stack.enter_async_context(flood)
                await _answers(process)
        second = SseReader(await session.get(url, headers=credentials()))
        await second.expect("connected")
        assert await _refused(process, "connection_limit") > 2 * FILES
        await process.says("the one that has been idle for longest is cut")
        await redis.publish("execution:run-1", producer_message("execution:completed"))
        for reader in (first, second):
            assert [seen.event for seen in await reader.rest()] == ["execution:completed"]


async def test_a_burst_of_connections(redis_url: str) -> None:
    """A thousand connections at the same moment: all are answered or cut, and health answers."""
    async with (
        serving(*LOW_LIMIT, **_settings(redis_url)) as process,
        aiohttp.ClientSession() as session,
    ):
        await process.healthy(session)
        connections = await asyncio.gather(*[Connection.open(process.url) for _ in range(1000)])
        await _answers(process)
        for connection in connections:
            await connection.closed()
        await _answers(process)
