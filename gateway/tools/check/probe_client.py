"""Opens one stream, as a browser does, and notes what came when. It judges nothing."""

import asyncio
from collections.abc import Callable

import aiohttp
from multidict import CIMultiDictProxy

from gateway.events.json_edit import parse_object
from gateway.tools.check.probe import EVENT_TYPE
from gateway.tools.sse_parser import EventStream, Frame

_MOST_REFUSAL = 4096
"""Bytes of a refusal that are read."""


class ProbeClient:
    """One stream; `run` reads it to its end. Times are the event loop's, in seconds."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self._url = url
        self._headers = {
            **headers,
            "Accept": "text/event-stream",
            # What a browser offers: a proxy that compresses is to do it here too.
            "Accept-Encoding": "gzip, deflate",
        }
        self._now: Callable[[], float] = asyncio.get_running_loop().time
        self._news = asyncio.Event()
        self.asked_at = self._now()
        self.status = 0
        """0 until there is an answer."""
        self.version = ""
        self.headers: CIMultiDictProxy[str] | None = None
        self.refusal = ""
        """What an answer that is no stream said."""
        self.connected_at: float | None = None
        self.events: dict[int, float] = {}
        """When each event of the probe arrived, by its number; 0 is the terminal one."""
        self.heartbeats = 0
        self.closing: str | None = None
        """The reason of a `stream:closing`."""
        self.ended_at: float | None = None
        self.problem: str | None = None
        """Why there was no answer, or no proper end."""

    async def run(self, session: aiohttp.ClientSession) -> None:
        """Ask, and read to the end, however that comes."""
        self.asked_at = self._now()
        try:
            async with session.get(
                self._url, headers=self._headers, allow_redirects=False
            ) as answer:
                self.status, self.headers = answer.status, answer.headers
                if answer.version is not None:
                    self.version = f"{answer.version.major}.{answer.version.minor}"
                await self._read(answer)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self.problem = str(error) or type(error).__name__
        finally:
            self.ended_at = self._now()
            self._news.set()

    async def wait(self, condition: Callable[[], object], seconds: float) -> bool:
        """Whether *condition* came true within *seconds*, or before the end of the stream."""
        deadline = self._now() + seconds
        while not condition() and self.ended_at is None:
            self._news.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._news.wait()
            except TimeoutError:
                break
        return bool(condition())

    @property
    def is_stream(self) -> bool:
        """Whether the answer is an event stream."""
        kind = self.headers.get("Content-Type", "") if self.headers is not None else ""
        return self.status == 200 and kind.partition(";")[0].strip() == "text/event-stream"

    async def _read(self, answer: aiohttp.ClientResponse) -> None:
        if not self.is_stream:
            self.refusal = (await answer.content.read(_MOST_REFUSAL)).decode(errors="replace")
            return
        stream = EventStream()
        async for chunk in answer.content.iter_any():
            for frame in stream.feed(chunk):
                self._take(frame)
            self._news.set()

    def _take(self, frame: Frame) -> None:
        match frame.event:
            case "connected":
                self.connected_at = self._now()
            case "heartbeat":
                self.heartbeats += 1
            case "stream:closing":
                self.closing = str(parse_object(frame.data).get("reason"))
            case event if frame.id is not None:
                number = _number_in(frame.data) if event == EVENT_TYPE else 0
                if number is not None:
                    self.events[number] = self._now()


def _number_in(document: bytes) -> int | None:
    """The number that the probe put in; None where it is not one of the probe's."""
    data = parse_object(document).get("data")
    number = data.get("number") if isinstance(data, dict) else None
    return number if isinstance(number, int) else None
