"""What several tests share: programs that must be there, waiting with a deadline, reading SSE."""

import asyncio
import inspect
import os
import re
import secrets
import shutil
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import cycle, islice
from typing import Any, NoReturn

import orjson
import pytest
from aiohttp import ClientResponse, web

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
    """A TCP port on loopback that nobody listens on now.

    Not one that the kernel gives to whoever asks for any: it would give it away again before a
    program that is told this one listens. Four workers of pytest-xdist have a range each.
    """
    for port in _PORTS:
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("unreachable: the ports go round")


def _ports() -> Iterator[int]:
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = 12_000 + 2_000 * (worker % 4)
    ports = range(first, first + 2_000)
    # Somebody else may run tests here too.
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


@dataclass
class Seen:
    """One event as an EventSource dispatches it, with the fields that stood in its block."""

    event: str
    data: str
    id: str | None = None
    retry: int | None = None

    def json(self) -> Any:
        return orjson.loads(self.data)


_LINE_END = re.compile(rb"\r\n|\r|\n")


class SseParser:
    """Event streams by the standard (WHATWG HTML, section 9.2.6): feed bytes, get events."""

    def __init__(self) -> None:
        self._rest = b""
        self._after_cr = False
        self._began = False
        self._fields: dict[str, list[str]] = {}

    def feed(self, chunk: bytes) -> list[Seen]:
        if self._after_cr and chunk:
            # The CR before it ended the line already: a browser does not wait for this LF.
            chunk = chunk.removeprefix(b"\n")
            self._after_cr = False
        if not chunk:
            return []
        self._after_cr = chunk.endswith(b"\r")
        *lines, self._rest = _LINE_END.split(self._rest + chunk)
        return [seen for line in lines if (seen := self._line(line))]

    def _line(self, raw: bytes) -> Seen | None:
        line = raw.decode("utf-8", "replace")
        if not self._began:
            line, self._began = line.removeprefix("\ufeff"), True
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        self._fields.setdefault(name, []).append(value.removeprefix(" "))
        return None

    def _dispatch(self) -> Seen | None:
        fields, self._fields = self._fields, {}
        if "data" not in fields:
            return None
        ids = [value for value in fields.get("id", []) if "\0" not in value]
        retries = [value for value in fields.get("retry", []) if re.fullmatch("[0-9]+", value)]
        return Seen(
            event=fields.get("event", [""])[-1] or "message",
            data="\n".join(fields["data"]),
            id=ids[-1] if ids else None,
            retry=int(retries[-1]) if retries else None,
        )


def parse_sse(data: bytes) -> list[Seen]:
    """All events of a complete stream."""
    return SseParser().feed(data)


class SseReader:
    """Reads one response as an EventSource would, each event with a deadline."""

    def __init__(self, response: ClientResponse) -> None:
        self.response = response
        self._parser = SseParser()
        self._seen: list[Seen] = []

    async def next(self, timeout: float = DEADLINE) -> Seen | None:
        """The next event, or None at the end of the stream."""
        async with asyncio.timeout(timeout):
            while not self._seen:
                chunk = await self.response.content.readany()
                if not chunk:
                    return None
                self._seen += self._parser.feed(chunk)
        return self._seen.pop(0)

    async def expect(self, event: str, timeout: float = DEADLINE) -> Seen:
        """The next event but heartbeats; it must be an *event*."""
        while (seen := await self.next(timeout)) is not None:
            if seen.event == event:
                return seen
            assert seen.event == "heartbeat", f"{seen} instead of {event}"
        raise AssertionError(f"the stream ended before {event}")

    async def rest(self, timeout: float = DEADLINE) -> list[Seen]:
        """All events but heartbeats until the stream ends."""
        return [seen async for seen in self._until_end(timeout) if seen.event != "heartbeat"]

    async def _until_end(self, timeout: float) -> AsyncIterator[Seen]:
        while (seen := await self.next(timeout)) is not None:
            yield seen


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
