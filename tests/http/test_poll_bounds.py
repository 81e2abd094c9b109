"""What polls may cost in bytes, time and CPU, and who pays for them: against a real process."""

import asyncio
import socket
import time
from contextlib import AbstractAsyncContextManager, suppress
from urllib.parse import urlsplit

import aiohttp
import pytest
from redis.asyncio import Redis

from tests.conftest import RunningGateway, StartGateway, credentials
from tests.harness.gateway_process import GatewayProcess, serving
from tests.harness.proc import cpu_seconds, rss_kib
from tests.http.conftest import path
from tests.http.histories import Producer
from tests.support import DEADLINE, eventually

MIB = 1024 * 1024
HEAVY = "?include_logs=true"


async def fill(redis: Redis, execution_id: str, size: int, output: int = 900_000) -> None:
    """A history of about *size* bytes, in steps with outputs of *output* bytes."""
    producer = Producer(redis, execution_id)
    for number in range(size // output):
        await producer.publish("step:completed", node_id=f"n{number}", output="x" * output)


class FrozenReader:
    """A poll whose answer nobody reads, but what `drip` takes."""

    def __init__(self, url: str, target: str, then: str = "close") -> None:
        """*then*: what becomes of the connection after the answer."""
        components = urlsplit(url)
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.connect((components.hostname, components.port))
        lines = [f"{name}: {value}" for name, value in credentials().items()]
        request = [f"GET {target} HTTP/1.1", "Host: x", f"Connection: {then}", *lines, "", ""]
        self._socket.sendall("\r\n".join(request).encode())
        self._socket.setblocking(False)

    def send(self, data: bytes) -> None:
        self._socket.send(data)

    async def begins(self) -> None:
        """Wait for the first byte of the answer."""
        await asyncio.get_running_loop().sock_recv(self._socket, 1)

    async def drip(self) -> None:
        """Read a little now and then, until the connection is cut."""
        with suppress(ConnectionResetError):
            while await asyncio.get_running_loop().sock_recv(self._socket, 512):
                await asyncio.sleep(0.02)

    async def ended(self) -> bytes:
        """What it was answered, read to the end."""
        heard = b""
        with suppress(ConnectionResetError):
            while data := await asyncio.get_running_loop().sock_recv(self._socket, 65536):
                heard += data
        return heard

    def close(self) -> None:
        self._socket.close()


async def get(
    session: aiohttp.ClientSession, url: str, organization: str = "acme"
) -> tuple[int, bytes, float]:
    """Status, body and seconds of one poll."""
    begun = time.monotonic()
    async with session.get(url, headers=credentials(organization)) as response:
        return response.status, await response.read(), time.monotonic() - begun


def process(redis_url: str, **settings: str) -> AbstractAsyncContextManager[GatewayProcess]:
    return serving(
        REDIS_URL=redis_url,
        GATEWAY_OWNERSHIP="token",
        GATEWAY_ADMIN_PORT="0",
        **settings,
    )


async def held(session: aiohttp.ClientSession, gateway: GatewayProcess) -> float:
    """Bytes that polls hold, as the metrics say."""
    async with session.get(f"{gateway.admin_url}/metrics") as response:
        for line in (await response.text()).splitlines():
            if line.startswith("sse_gateway_poll_bytes "):
                return float(line.split()[1])
    raise AssertionError("no such metric")


@pytest.mark.alone
async def test_frozen_readers(redis_url: str, redis: Redis) -> None:
    """Thirty polls of the largest histories that nobody reads: what they hold stays within their
    organization's quarter, another organization's poll is quick meanwhile, and the readers are cut
    at the write timeout and give everything back."""
    for number in range(3):
        await fill(redis, f"big-{number}", 16 * MIB)
    await fill(redis, "tiny", 1000, 500)
    async with (
        process(redis_url, GATEWAY_WRITE_TIMEOUT_SECONDS="1") as gateway,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        await gateway.healthy(session)
        assert (await get(session, gateway.url + path("tiny"), "globex"))[0] == 200
        before = peak = rss_kib(gateway.pid)
        most = slowest = 0.0
        readers = [FrozenReader(gateway.url, path(f"big-{n % 3}") + HEAVY) for n in range(30)]
        # Nothing is held before the first one begins, nor after the last one was cut or refused.
        await eventually(lambda: _holds(session, gateway))
        while (bytes_held := await held(session, gateway)) > MIB:
            status, _, seconds = await get(session, gateway.url + path("tiny"), "globex")
            assert status == 200
            most, slowest = max(most, bytes_held), max(slowest, seconds)
            peak = max(peak, rss_kib(gateway.pid))
        assert 30 * MIB < most < 41 * MIB
        assert (peak - before) / 1024 < 120
        assert slowest < 3
        for reader in readers:
            # Cut in the middle, or refused with what to do.
            heard = await asyncio.wait_for(reader.ended(), DEADLINE)
            assert heard.startswith((b"HTTP/1.1 200", b"HTTP/1.1 429")), heard[:100]
            assert len(heard) < 2 * MIB
            reader.close()


async def _holds(session: aiohttp.ClientSession, gateway: GatewayProcess) -> bool:
    return await held(session, gateway) > MIB


async def test_heavy_polls_are_paid_by_their_organization(redis_url: str, redis: Redis) -> None:
    """While twenty-four heavy polls of one organization are read, another one's tiny polls are
    answered each within a moment; so are the heavy ones, one after the other, or refused with a
    time to come back."""
    for number in range(4):
        await fill(redis, f"big-{number}", 16 * MIB)
    await fill(redis, "tiny", 1000, 500)
    async with (
        process(redis_url) as gateway,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        await gateway.healthy(session)
        before = rss_kib(gateway.pid)
        heavy = [
            asyncio.create_task(get(session, gateway.url + path(f"big-{n % 4}") + HEAVY))
            for n in range(24)
        ]
        await eventually(lambda: _holds(session, gateway))
        slowest = 0.0
        polls = 0
        while not all(one.done() for one in heavy):
            status, _, seconds = await get(session, gateway.url + path("tiny"), "globex")
            assert status == 200
            slowest, polls = max(slowest, seconds), polls + 1
        assert polls > 3
        assert slowest < 3
        statuses = [(await one)[0] for one in heavy]
        assert set(statuses) <= {200, 429}
        assert 200 in statuses
        assert (rss_kib(gateway.pid) - before) / 1024 < 250


@pytest.mark.alone
async def test_cost_of_an_unmoved_history(redis_url: str, redis: Redis) -> None:
    """Polls of a history that has not moved cost what they cost for one of a quarter of its size:
    it is folded once."""
    await fill(redis, "quarter", 3 * MIB, 10_000)
    await fill(redis, "whole", 9 * MIB, 10_000)
    async with process(redis_url) as gateway, aiohttp.ClientSession() as session:
        await gateway.healthy(session)

        async def cost(execution_id: str) -> float:
            url = gateway.url + path(execution_id)
            await get(session, url)
            before = cpu_seconds(gateway.pid)
            for _ in range(50):
                assert (await get(session, url))[0] == 200
            return cpu_seconds(gateway.pid) - before

        quarter, whole = await cost("quarter"), await cost("whole")
        # A clock's tick is 10 ms; folding the whole each time would be seconds.
        assert whole < 3 * quarter + 0.2
        assert whole < 50 * 0.02


async def test_dripping_reader(
    start_gateway: StartGateway, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """A reader that takes a little now and then is cut when its time is over, and is counted; that
    is no error of the gateway's."""
    await fill(redis, "run-1", 4 * MIB)
    gateway = await start_gateway(
        ownership="token", send_buffer_bytes=8192, write_timeout_seconds=5, poll_seconds=1
    )
    reader = FrozenReader(gateway.url, path() + HEAVY)
    begun = time.monotonic()
    await asyncio.wait_for(reader.drip(), DEADLINE)
    assert time.monotonic() - begun < 4
    assert gateway.components.metrics.polls_cut == {"slow": 1}
    await eventually(
        lambda: gateway.components.polls.used <= gateway.components.polls.most_remembered
    )
    reader.close()
    assert [line.getMessage() for line in caplog.records if line.levelname == "ERROR"] == []


@pytest.mark.parametrize("query", [HEAVY, "?include_logs=1&limit=2", ""])
async def test_small_answers_are_watched_too(
    start_gateway: StartGateway, redis: Redis, query: str
) -> None:
    """Answers that fit into one write, of a reader that asks again and again and never reads."""
    await fill(redis, "run-1", 40_000, 20_000)
    gateway = await start_gateway(
        ownership="token", send_buffer_bytes=8192, write_timeout_seconds=0.5
    )
    reader = FrozenReader(gateway.url, path() + query, then="keep-alive")
    lines = [f"{name}: {value}" for name, value in credentials().items()]
    request = "\r\n".join([f"GET {path() + query} HTTP/1.1", "Host: x", *lines, "", ""]).encode()

    async def is_cut() -> bool:
        with suppress(BlockingIOError):
            reader.send(request)
        return gateway.components.metrics.polls_cut == {"stalled": 1}

    with suppress(ConnectionError):
        await eventually(is_cut)
    await eventually(lambda: gateway.components.metrics.polls_cut == {"stalled": 1})
    reader.close()


@pytest.mark.parametrize("begun", [True, False], ids=["in the middle", "before its turn"])
async def test_reader_that_leaves(
    start_gateway: StartGateway, redis: Redis, *, begun: bool
) -> None:
    """Readers that go away give everything back, and the next poll is answered."""
    await fill(redis, "run-1", 6 * MIB)
    gateway = await start_gateway(ownership="token", history_max_bytes=7 * MIB)
    readers = [FrozenReader(gateway.url, path() + HEAVY) for _ in range(5)]
    polls = gateway.components.polls
    await eventually(lambda: polls.used > 10 * MIB)
    for reader in readers:
        if begun:
            await reader.begins()
        reader.close()
    await eventually(lambda: polls.used <= polls.most_remembered)
    await eventually(lambda: _poll_is_answered(gateway))


async def _poll_is_answered(gateway: RunningGateway) -> bool:
    return (await get(gateway.session, gateway.url + path() + HEAVY))[0] == 200


async def test_run_larger_than_a_share(start_gateway: StartGateway, redis: Redis) -> None:
    """A run for which no room would be enough is refused with what to do, and got in pages."""
    await fill(redis, "run-1", 3 * MIB, 100_000)
    gateway = await start_gateway(ownership="token", poll_bytes=16 * MIB)
    status, body, _ = await get(gateway.session, gateway.url + path() + HEAVY)
    assert (status, b"`limit`" in body) == (413, True)
    status, body, _ = await get(gateway.session, f"{gateway.url}{path()}{HEAVY}&limit=5")
    assert (status, body.count(b'"type":"step:completed"')) == (200, 5)
    assert (await get(gateway.session, gateway.url + path()))[0] == 200


async def test_history_that_takes_too_long(start_gateway: StartGateway, redis: Redis) -> None:
    """A poll whose history is not read in time is refused for now, and holds nothing."""
    await fill(redis, "run-1", 9 * MIB)
    gateway = await start_gateway(ownership="token", poll_seconds=0.001)
    async with gateway.session.get(gateway.url + path(), headers=credentials()) as response:
        assert response.status == 503
        assert int(response.headers["Retry-After"]) > 0
    assert gateway.components.polls.used == 0
