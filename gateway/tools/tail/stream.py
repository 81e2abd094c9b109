"""One SSE stream of a gateway, followed through all reconnects."""

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import aiohttp

from gateway.errors import GatewayError
from gateway.events import fields
from gateway.events.ending import EndingStatus
from gateway.events.json_edit import parse_object
from gateway.tools.sse_parser import EventStream, Frame

HEARTBEATS_MISSED = 2.5
"""A connection that brings nothing for so many heartbeats is dead."""

CONNECTED_WITHIN = 10.0
"""Seconds from a request to `connected`: longer than the gateway waits for a registration."""

LONGEST_PAUSE = 10.0
"""Most seconds between two attempts, unless the gateway asks for more."""

_MOST_ASKED = 3600.0
"""Most seconds that an answer may ask for."""


class Lost(GatewayError):
    """What was followed cannot be followed (any more); `str(error)` says why."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """There is no stream; the next attempt is in *seconds*."""

    why: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Ended:
    """All that was followed has ended, with this status."""

    status: EndingStatus


U = TypeVar("U")


@dataclass(slots=True)
class Stream(ABC, Generic[U]):
    """A stream of the gateway *url*; a subclass says which one, and what its frames say."""

    url: str
    headers: Callable[[], dict[str, str]]
    """Credentials for the next request."""
    last_event_id: str | None = None
    give_up_after: float = 60.0
    """Seconds without a stream after which it counts as lost."""
    _heartbeat: float = field(default=15.0, init=False)
    _heard_at: float = field(default=0.0, init=False)
    """Loop time in seconds at which a stream was open last, with or without events."""
    _retry: float = field(default=1.0, init=False)
    """Seconds of the last `retry:`."""
    _retry_after: float = field(default=0.0, init=False)
    """Seconds of `Retry-After`, for the next attempt only."""
    _failures: int = field(default=0, init=False)
    _session: aiohttp.ClientSession = field(init=False)

    @property
    @abstractmethod
    def path(self) -> str:
        """Of the stream, with its query."""

    def connected(self, document: Mapping[str, object]) -> U | None:
        """A stream is open; *document* is the data of its `connected`."""
        return None

    @abstractmethod
    def take(self, frame: Frame) -> Iterator[U | Ended]:
        """What any other *frame* says.

        Raises:
            Lost: there is nothing to follow any more.
        """

    def stopped(self) -> Ended | None:
        """The gateway has ended the stream: how all that was followed has ended, if it has."""
        return None

    async def nothing_left(self) -> Ended:
        """The gateway has answered 204."""
        raise aiohttp.ClientError("204 No Content")

    async def follow(self) -> AsyncIterator[U | Waiting | Ended]:
        """Everything that happens, up to `Ended`.

        Raises:
            Lost: the gateway refuses, or there was no stream for `give_up_after` seconds.
        """
        loop = asyncio.get_running_loop()
        self._heard_at = loop.time()
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECTED_WITHIN)
        async with aiohttp.ClientSession(timeout=timeout) as self._session:
            while True:
                why = "the stream ended before its execution"
                try:
                    async for update in self._stream():
                        yield update
                        if isinstance(update, Ended):
                            return
                except (aiohttp.ClientError, OSError, TimeoutError) as error:
                    why = _why(error)
                if loop.time() - self._heard_at > self.give_up_after:
                    raise Lost(f"No stream for {self.give_up_after:g} s: {why}.")
                seconds = self._next_pause()
                yield Waiting(why, seconds)
                await asyncio.sleep(seconds)

    async def _stream(self) -> AsyncIterator[U | Ended]:
        headers = {**self.headers(), "Accept": "text/event-stream"}
        if self.last_event_id is not None:
            headers["Last-Event-ID"] = self.last_event_id
        async with asyncio.timeout(CONNECTED_WITHIN):
            response = await self._session.get(self.url + self.path, headers=headers)
        async with response:
            if response.status == 204:
                yield await self.nothing_left()
                return
            if response.status != 200:
                await self._refused(response)
            async for update in self._read(response):
                yield update

    async def _read(self, response: aiohttp.ClientResponse) -> AsyncIterator[U | Ended]:
        loop = asyncio.get_running_loop()
        parser, timeout, connected = EventStream(), CONNECTED_WITHIN, False
        while True:
            async with asyncio.timeout(timeout):
                chunk = await response.content.readany()
            if connected:
                self._heard_at = loop.time()
            if not chunk:
                break
            for frame in parser.feed(chunk):
                if frame.retry_ms is not None:
                    self._retry = frame.retry_ms / 1000
                if frame.event == "connected":
                    connected = True
                    self._failures = 0
                    document = parse_object(frame.data)
                    given = fields.number(document.get("heartbeat_seconds"))
                    self._heartbeat = given or self._heartbeat
                    timeout = self._heartbeat * HEARTBEATS_MISSED
                    if (update := self.connected(document)) is not None:
                        yield update
                else:
                    for one in self.take(frame):
                        yield one
        if (ended := self.stopped()) is not None:
            yield ended

    async def _refused(self, response: aiohttp.ClientResponse) -> None:
        """Raises `Lost`, or `ClientError` for a refusal after which to try again."""
        document = parse_object(await response.read())
        message = document.get("message") or f"{response.status} {response.reason}"
        if response.status in (400, 401, 403, 404):
            raise Lost(str(message))
        if (seconds := response.headers.get("Retry-After", "")).isdecimal():
            self._retry_after = float(seconds)
        raise aiohttp.ClientError(str(message))

    async def get(self, path: str) -> dict[str, object]:
        """What the gateway has at *path*."""
        async with (
            asyncio.timeout(CONNECTED_WITHIN),
            self._session.get(self.url + path, headers=self.headers()) as response,
        ):
            if response.status != 200:
                await self._refused(response)
            return parse_object(await response.read())

    def _next_pause(self) -> float:
        grown = min(LONGEST_PAUSE, self._retry * 2 ** min(self._failures, 10))
        pause: float = min(_MOST_ASKED, max(grown, self._retry, self._retry_after))
        self._failures += 1
        self._retry_after = 0.0
        return pause * random.uniform(1.0, 1.5)  # noqa: S311 - spreads load, guards nothing


def _why(error: Exception) -> str:
    """Why there is no stream, for people."""
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(
        error.os_error, ConnectionRefusedError
    ):
        return f"no gateway listens at {error.host}:{error.port}"
    return str(error) or "the connection brings nothing"
