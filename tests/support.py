"""What several tests share: programs that must be there, free ports, waiting with a deadline."""

import asyncio
import inspect
import os
import secrets
import shutil
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from itertools import cycle, islice
from typing import Any, NoReturn

import orjson
import pytest
from aiohttp import web

SECRET = "a-secret-of-the-tests-with-40-characters"
DEADLINE = 15.0
"""Seconds after which a test stops waiting for what should have happened at once."""


def require(program: str) -> str:
    """The path of *program*; without it the test is skipped, but fails where CI is set."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if path is None:
        missing(f"{program} is not installed: .ci/run installs it from the distribution")
    return path


def missing(what: str) -> NoReturn:
    """Skip for want of *what*; fail instead where CI is set."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


def free_port() -> int:
    """A TCP port on loopback that is free now.

    It is outside the range from which the kernel gives ports: the kernel could give such a port to
    another program before the one that gets this number listens. Each of four workers of
    pytest-xdist has a range of its own.
    """
    for port in _PORTS:
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("unreachable: the ports go round")


def _ports() -> Iterator[int]:
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = 12_000 + 2_000 * (worker % 4)
    ports = range(first, first + 2_000)
    # Another run of the tests may use the same range.
    return islice(cycle(ports), secrets.randbelow(len(ports)), None)


_PORTS = _ports()


def cancel_task(name: str) -> None:
    """Cancel a running task, as a fault would."""
    [task] = [task for task in asyncio.all_tasks() if task.get_name() == name]
    task.cancel()


async def eventually(
    condition: Callable[[], object | Awaitable[object]], timeout: float = DEADLINE
) -> Any:
    """Wait until *condition* is true and return what it returned."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    while True:
        result = condition()
        if inspect.isawaitable(result):
            result = await result
        if result:
            return result
        if loop.time() > deadline:
            raise AssertionError(f"not within {timeout} s: {_describe(condition)}")
        await asyncio.sleep(0.01)


def _describe(condition: Callable[[], object]) -> str:
    """The source of *condition*, where it has one: a lambda has no name worth reading."""
    try:
        return inspect.getsource(condition).strip()
    except TypeError:
        return repr(condition)


def producer_message(event_type: str, **data: object) -> bytes:
    """An event as today's workers publish it: UTC time without a zone."""
    stamp = datetime.now(UTC).replace(tzinfo=None).isoformat()
    return orjson.dumps({"type": event_type, "data": data, "timestamp": stamp})


@asynccontextmanager
async def served(application: web.Application) -> AsyncIterator[str]:
    """Serves *application* on loopback; the address is an origin of its own."""
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        [(host, port)] = runner.addresses
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()
