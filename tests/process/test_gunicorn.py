"""Several workers of Gunicorn, as an alternative to several instances behind nginx."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from redis.asyncio import Redis

from gateway.bus.census import FLUSH_INTERVAL
from tests.conftest import credentials
from tests.process.programs import environment
from tests.support import DEADLINE, SseReader, eventually, free_port, producer_message

TABS = 24


@asynccontextmanager
async def gunicorn(
    workers: int, **settings: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A Gunicorn with so many workers, and its address."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "gunicorn", "-w", str(workers), "-b", f"127.0.0.1:{port}"],
        *["-k", "aiohttp.GunicornUVLoopWebWorker", "gateway.app:create_app"],
        env=environment(**settings),
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
            await process.wait()


def workers_of(pid: int) -> list[int]:
    """The child processes of *pid*."""
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def streams_of(pid: int, port: int) -> int:
    """How many connections to *port* a process holds."""
    held = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            held.add(str(entry.readlink()))
        except OSError:
            continue
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    inodes = [line.split()[9] for line in lines if line.split()[1].endswith(f":{port:04X}")]
    return sum(f"socket:[{inode}]" in held for inode in inodes if inode != "0")


async def test_two_workers(redis_url: str, redis: Redis) -> None:
    """Tabs on either worker get every event; SIGTERM sends them away with `stream:closing`; who
    comes back with its cursor to the next Gunicorn has lost nothing; no token is logged."""
    settings = {
        "REDIS_URL": redis_url,
        "GATEWAY_OWNERSHIP": "token",
        "GATEWAY_DRAIN_SECONDS": "0.5",
    }
    async with (
        gunicorn(2, **settings) as (process, url),
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        stream = f"{url}/api/v1/sse/executions/run-1/stream"

        async def healthy() -> bool:
            try:
                async with session.get(f"{url}/api/v1/sse/health") as response:
                    return response.status == 200
            except aiohttp.ClientError:
                return False

        await eventually(healthy)
        await eventually(lambda: len(workers_of(process.pid)) == 2)
        query = {
            "Authorization": credentials()["Authorization"],
            "organization_id": "acme",
        }
        readers = [SseReader(await session.get(stream, params=query)) for _ in range(TABS)]
        for reader in readers:
            await reader.expect("connected")
        port = int(url.rpartition(":")[2])
        spread = [streams_of(pid, port) for pid in workers_of(process.pid)]
        assert min(spread) > 0, f"all tabs are on one worker: {spread}"
        await redis.publish("execution:run-1", producer_message("step:started"))
        [first] = {(await reader.expect("step:started")).id for reader in readers}
        process.send_signal(signal.SIGTERM)
        for reader in readers:
            [closing] = await reader.rest()
            assert (closing.event, closing.json()["reason"]) == ("stream:closing", "drain")
        assert await asyncio.wait_for(process.wait(), DEADLINE) == 0
        assert process.stderr is not None
        said = (await process.stderr.read()).decode()
        assert credentials()["Authorization"].split(".")[-1][:20] not in said
        assert "Bearer" not in said
    async with (
        gunicorn(1, **settings) as (_, url),
        aiohttp.ClientSession() as session,
    ):
        stream = f"{url}/api/v1/sse/executions/run-1/stream"
        headers = {**credentials(), "Last-Event-ID": first or ""}

        async def back() -> aiohttp.ClientResponse | None:
            try:
                return await session.get(stream, headers=headers)
            except aiohttp.ClientError:
                return None

        reader = SseReader(await eventually(back))
        await reader.expect("connected")
        await redis.publish("execution:run-1", producer_message("execution:completed"))
        [seen] = await reader.rest()
        reader.response.close()
        assert (first or "").replace("-1", "-2") == seen.id


async def test_readers_that_leave_are_noticed(redis_url: str) -> None:
    """A reader that leaves while its stream is still being opened gives its place back: aiohttp's
    handler is cancelled, which Gunicorn's worker would not do by itself."""
    settings = {
        "REDIS_URL": redis_url,
        "GATEWAY_OWNERSHIP": "registry",
        "GATEWAY_OWNERSHIP_WAIT_SECONDS": "30",
        "GATEWAY_MAX_CONNECTIONS": "1",
    }
    async with gunicorn(1, **settings) as (_, url), aiohttp.ClientSession() as session:
        stream = f"{url}/api/v1/sse/executions/unknown/stream"

        async def held() -> bool:
            """Whether a request is held, not refused: nobody has registered the execution."""
            try:
                async with asyncio.timeout(FLUSH_INTERVAL):
                    async with session.get(stream, headers=credentials()) as response:
                        assert response.status in (429, 503), await response.text()
                        return False
            except TimeoutError:
                return True
            except aiohttp.ClientError:
                return False

        await eventually(held)
        await eventually(held)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"GATEWAY_JWT_SECRET": ""}, "GATEWAY_JWT_SECRET"),
        ({"REDIS_URL": "embedded://"}, "each worker would start a Redis of its own"),
    ],
)
async def test_wrong_settings(redis_url: str, settings: dict[str, str], said: str) -> None:
    """Wrong settings end Gunicorn with all mistakes in its log, instead of starting for ever."""
    async with gunicorn(1, **{"REDIS_URL": redis_url, **settings}) as (process, _):
        assert await asyncio.wait_for(process.wait(), DEADLINE) != 0
        assert process.stderr is not None
        assert said in (await process.stderr.read()).decode()
