"""Readers that do not read, or only drop by drop."""

import asyncio
import socket
from functools import partial
from urllib.parse import urlsplit

from tests.prices.histories import FEW, MANY, poll, stream, written
from tests.prices.row import MIB, Attack, Row
from tests.prices.stage import Stage
from tests.support import eventually

_WRITE_TIMEOUT = "write_timeout_seconds, send_buffer_bytes"
_BUDGET = "poll_bytes, poll_seconds, write_timeout_seconds"


def request_of(what: str, execution_id: str, headers: str) -> str:
    if what == "stream":
        return stream(execution_id, headers)
    query = "?include_logs=true" if what == "poll with logs" else ""
    return poll(execution_id, headers, query)


def connected(stage: Stage, data: str) -> socket.socket:
    """A connection with a small receive buffer that has sent *data*."""
    parts = urlsplit(stage.url)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((parts.hostname, parts.port))
    connection.sendall(data.encode())
    connection.setblocking(False)
    return connection


def answered(connection: socket.socket) -> bool:
    """Whether something has come, which is left where it is."""
    try:
        connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    return True


def frozen(what: str, kept: tuple[int, int]) -> Attack:
    """Nothing is read, until the gateway has ended all of them."""

    async def attack(stage: Stage, size: int, times: int) -> None:
        execution_id = await stage.history(*kept)
        data = request_of(what, execution_id, stage.headers())
        await _frozen(stage, [data] * times)

    return attack


async def _frozen(stage: Stage, requests: list[str]) -> None:
    connections = [connected(stage, data) for data in requests]
    try:
        for connection in connections:
            await eventually(partial(answered, connection))
        await stage.cut()
    finally:
        for connection in connections:
            connection.close()


async def _frozen_each(stage: Stage, size: int, times: int) -> None:
    """Polls with logs that are not read, each of a history of its own that nobody has polled."""
    data = []
    for _ in range(times):
        execution_id = await stage.another_history(*FEW)
        data.append(poll(execution_id, stage.headers(), "?include_logs=true"))
    await _frozen(stage, data)
    await stage.remove_others()


def dripping(what: str, kept: tuple[int, int]) -> Attack:
    """One KiB is read every 50 ms, for 0.8 s."""

    async def attack(stage: Stage, size: int, times: int) -> None:
        execution_id = await stage.history(*kept)
        data = request_of(what, execution_id, stage.headers())
        connections = [connected(stage, data) for _ in range(times)]
        loop = asyncio.get_running_loop()

        async def read(connection: socket.socket) -> None:
            with connection:
                for _ in range(16):
                    try:
                        async with asyncio.timeout(0.5):
                            if not await loop.sock_recv(connection, 1024):
                                return
                    except (TimeoutError, ConnectionError):
                        return
                    await asyncio.sleep(0.05)

        await asyncio.gather(*map(read, connections))

    return attack


ROWS = [
    Row("frozen streams", frozen("stream", MANY), _WRITE_TIMEOUT, times=10, cpu=0.1,
        keeps=20 * MIB, prepare=written),
    Row("frozen polls", frozen("poll", FEW), _BUDGET, times=4, cpu=0.3, peak=128 * MIB,
        prepare=written),
    Row("frozen polls with logs", frozen("poll with logs", FEW), _BUDGET, times=4, cpu=0.3,
        peak=128 * MIB, prepare=written),
    Row("frozen polls with logs, each of a history of its own", _frozen_each, _BUDGET, times=1,
        cpu=0.6, peak=128 * MIB),
    Row("frozen polls with logs through nginx", frozen("poll with logs", FEW), _BUDGET, times=4,
        cpu=0.3, peak=128 * MIB, prepare=written, through_nginx=True),
    Row("dripping streams", dripping("stream", MANY), _WRITE_TIMEOUT, times=10, cpu=0.1,
        keeps=20 * MIB, prepare=written),
    Row("dripping polls with logs", dripping("poll with logs", FEW), _BUDGET, times=4, cpu=0.3,
        peak=128 * MIB, prepare=written),
]  # fmt: skip
