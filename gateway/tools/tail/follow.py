"""One execution's events over HTTP, once and in order, through all reconnects."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import aiohttp

from gateway.errors import GatewayError
from gateway.events import fields
from gateway.events.ending import STANDARD, EndingStatus, TerminalTypes, parse_status, status_of
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

_NOTICES = frozenset({"stream:gap", "stream:reset"})


class Lost(GatewayError):
    """The execution cannot be followed (any more); `str(error)` says why."""


@dataclass(frozen=True, slots=True)
class Happened:
    """An event of the execution, or a `stream:gap` or `stream:reset`."""

    type: str
    body: bytes
    """Its JSON, unchanged."""


@dataclass(frozen=True, slots=True)
class Connected:
    """A stream is open."""

    terminal_types: TerminalTypes


@dataclass(frozen=True, slots=True)
class Waiting:
    """There is no stream; the next attempt is in *seconds*."""

    why: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Ended:
    """The execution has ended with this status."""

    status: EndingStatus


Update = Happened | Connected | Waiting | Ended


@dataclass(slots=True)
class Follower:
    """Follows *execution_id* at the gateway *url*."""

    url: str
    execution_id: str
    headers: Callable[[], dict[str, str]]
    """Credentials for the next request."""
    last_event_id: str | None = None
    give_up_after: float = 60.0
    """Seconds without a stream after which it counts as lost."""
    _heartbeat: float = 15.0
    _terminal_types: TerminalTypes = field(default_factory=lambda: STANDARD)
    _heard_at: float = 0.0
    """Loop time in seconds at which a stream was open last, with or without events."""
    _retry: float = 1.0
    """Seconds of the last `retry:`."""
    _retry_after: float = 0.0
    """Seconds of `Retry-After`, for the next attempt only."""
    _failures: int = 0
    _session: aiohttp.ClientSession = field(init=False)

    async def follow(self) -> AsyncIterator[Update]:
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
                    why = str(error) or "the connection brings nothing"
                if loop.time() - self._heard_at > self.give_up_after:
                    raise Lost(f"No stream for {self.give_up_after:g} s: {why}.")
                seconds = self._next_pause()
                yield Waiting(why, seconds)
                await asyncio.sleep(seconds)

    async def _stream(self) -> AsyncIterator[Update]:
        path = f"{self.url}/api/v1/sse/executions/{self.execution_id}/stream"
        headers = {**self.headers(), "Accept": "text/event-stream"}
        if self.last_event_id is not None:
            headers["Last-Event-ID"] = self.last_event_id
        async with asyncio.timeout(CONNECTED_WITHIN):
            response = await self._session.get(path, headers=headers)
        async with response:
            if response.status == 204:
                yield Ended(await self._status())
                return
            if response.status != 200:
                await self._refused(response)
                return
            async for update in self._read(response):
                yield update

    async def _read(self, response: aiohttp.ClientResponse) -> AsyncIterator[Update]:
        loop = asyncio.get_running_loop()
        parser, timeout, ended, connected = EventStream(), CONNECTED_WITHIN, None, False
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
                    ended = parse_status(document.get("status"))
                    self._terminal_types = _terminal_types(document.get("terminal_types"))
                    yield Connected(self._terminal_types)
                elif happened := self._happened(frame):
                    yield happened
                    if happened.type in self._terminal_types:
                        types = self._terminal_types
                        yield Ended(status_of(happened.type, happened.body, types))
                        return
        if ended is not None:
            # Its history has expired; only the end is still known.
            yield Ended(ended)

    def _happened(self, frame: Frame) -> Happened | None:
        if (
            frame.event == "stream:closing"
            and parse_object(frame.data).get("reason") == "forgotten"
        ):
            raise Lost("The execution was deleted, and nothing of it is kept.")
        if frame.event in _NOTICES:
            if frame.event == "stream:reset":
                self.last_event_id = None
            return Happened(frame.event, frame.data)
        if frame.id is None and (frame.event == "heartbeat" or frame.event.startswith("stream:")):
            return None
        self.last_event_id = frame.id or self.last_event_id
        return Happened(frame.event, frame.data)

    async def _refused(self, response: aiohttp.ClientResponse) -> None:
        """Raises `Lost`, or `ClientError` for a refusal after which to try again."""
        document = parse_object(await response.read())
        message = document.get("message") or f"{response.status} {response.reason}"
        if response.status in (400, 401, 403, 404):
            raise Lost(str(message))
        if (seconds := response.headers.get("Retry-After", "")).isdecimal():
            self._retry_after = float(seconds)
        raise aiohttp.ClientError(str(message))

    async def _status(self) -> EndingStatus:
        """How it has ended, where the stream is 204: the terminal event was received before."""
        path = f"{self.url}/api/v1/workflows/-/runs/{self.execution_id}"
        async with (
            asyncio.timeout(CONNECTED_WITHIN),
            self._session.get(path, headers=self.headers()) as response,
        ):
            if response.status != 200:
                await self._refused(response)
            document = parse_object(await response.read())
        return parse_status(document.get("status")) or "ended"

    def _next_pause(self) -> float:
        grown = min(LONGEST_PAUSE, self._retry * 2 ** min(self._failures, 10))
        pause: float = min(_MOST_ASKED, max(grown, self._retry, self._retry_after))
        self._failures += 1
        self._retry_after = 0.0
        return pause * random.uniform(1.0, 1.5)  # noqa: S311 - spreads load, guards nothing


def _terminal_types(given: object) -> TerminalTypes:
    """What ends a run, as `connected` names it."""
    if not isinstance(given, dict):
        return STANDARD
    return {name: parse_status(status) for name, status in given.items()}
