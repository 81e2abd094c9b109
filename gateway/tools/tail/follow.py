"""One execution's events over HTTP, once and in order, through whatever happens to the connection.

It reads the same stream as a page does, with the token in a header, and comes back as the gateway
asks. How events are shown, and what their end means for a shell, is decided elsewhere.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import aiohttp

from gateway.errors import GatewayError
from gateway.events import fields
from gateway.events.json_edit import parse_object
from gateway.events.run import RunStatus
from gateway.settings import TERMINAL_TYPES
from gateway.tools.sse_parser import EventStream, Frame

HEARTBEATS_MISSED = 2.5
"""A connection that is mute for so many heartbeats is dead, whatever the socket says."""

CONNECTED_WITHIN = 10.0
"""Seconds from a request to `connected`: longer than a request is held for its registration."""

LONGEST_PAUSE = 10.0
"""Seconds between two tries, at most, unless the gateway asks for more."""

_MOST_ASKED = 3600.0
"""Seconds that a gateway, or whoever answers in its place, may ask for."""

_NOTICES = frozenset({"stream:gap", "stream:reset"})
_ENDED: dict[str, RunStatus] = {
    "completed": "completed",
    "failed": "failed",
    "canceled": "canceled",
    "cancelled": "canceled",
}


class Lost(GatewayError):
    """The execution cannot be followed (any more); `str(error)` says why."""


@dataclass(frozen=True, slots=True)
class Happened:
    """An event of the execution, or `stream:gap` and `stream:reset` in its place."""

    type: str
    body: bytes
    """Its JSON, as it came."""


@dataclass(frozen=True, slots=True)
class Connected:
    """A stream is open."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """There is no stream; the next try is in *seconds*."""

    why: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Ended:
    """The execution has ended so."""

    status: RunStatus


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
    _heard_at: float = 0.0
    """Loop time in seconds at which there was a stream last, also one in which nothing happened."""
    _asked: float = 1.0
    """Seconds that the gateway asks whoever comes back to wait (`retry:`)."""
    _asked_once: float = 0.0
    """The same for the next time only (`Retry-After`)."""
    _failures: int = 0
    _session: aiohttp.ClientSession = field(init=False)

    async def follow(self) -> AsyncIterator[Update]:
        """What happens, up to `Ended`.

        Raises:
            Lost: the gateway refuses, or there was no stream for `give_up_after` seconds.
        """
        loop = asyncio.get_running_loop()
        self._heard_at = loop.time()
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECTED_WITHIN)
        async with aiohttp.ClientSession(timeout=timeout) as self._session:
            while True:
                why = "the stream has ended before its execution"
                try:
                    async for update in self._stream():
                        yield update
                        if isinstance(update, Ended):
                            return
                except (aiohttp.ClientError, OSError, TimeoutError) as error:
                    why = str(error) or "the connection has gone mute"
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
        parser, patience, ended, connected = EventStream(), CONNECTED_WITHIN, None, False
        while True:
            async with asyncio.timeout(patience):
                chunk = await response.content.readany()
            if connected:
                self._heard_at = loop.time()
            if not chunk:
                break
            for frame in parser.feed(chunk):
                if frame.retry_ms is not None:
                    self._asked = frame.retry_ms / 1000
                if frame.event == "connected":
                    connected = True
                    self._failures = 0
                    told = parse_object(frame.data)
                    given = fields.number(told.get("heartbeat_seconds"))
                    self._heartbeat = given or self._heartbeat
                    patience = self._heartbeat * HEARTBEATS_MISSED
                    ended = _ENDED.get(str(told.get("status")))
                    yield Connected()
                elif happened := self._happened(frame):
                    yield happened
                    if happened.type in TERMINAL_TYPES:
                        yield Ended(_ENDED[happened.type.partition(":")[2]])
                        return
        if ended is not None:
            # Its history is gone, and the end is all that is still known.
            yield Ended(ended)

    def _happened(self, frame: Frame) -> Happened | None:
        if frame.event in _NOTICES:
            if frame.event == "stream:reset":
                self.last_event_id = None
            return Happened(frame.event, frame.data)
        if frame.id is None and (frame.event == "heartbeat" or frame.event.startswith("stream:")):
            return None
        self.last_event_id = frame.id or self.last_event_id
        return Happened(frame.event, frame.data)

    async def _refused(self, response: aiohttp.ClientResponse) -> None:
        """Raises `Lost` unless it is passing."""
        document = parse_object(await response.read())
        words = document.get("message") or f"{response.status} {response.reason}"
        if response.status in (400, 401, 403, 404):
            raise Lost(str(words))
        if (asked := response.headers.get("Retry-After", "")).isdecimal():
            self._asked_once = float(asked)
        raise aiohttp.ClientError(str(words))

    async def _status(self) -> RunStatus:
        """How it has ended, for a reader that has seen the end."""
        path = f"{self.url}/api/v1/workflows/-/runs/{self.execution_id}"
        async with (
            asyncio.timeout(CONNECTED_WITHIN),
            self._session.get(path, headers=self.headers()) as response,
        ):
            if response.status != 200:
                await self._refused(response)
            document = parse_object(await response.read())
        return _ENDED.get(str(document.get("status")), "completed")

    def _next_pause(self) -> float:
        grown = min(LONGEST_PAUSE, self._asked * 2 ** min(self._failures, 10))
        pause: float = min(_MOST_ASKED, max(grown, self._asked, self._asked_once))
        self._failures += 1
        self._asked_once = 0.0
        return pause * random.uniform(1.0, 1.5)  # noqa: S311 - spreads load, guards nothing
