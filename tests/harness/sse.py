"""Server-sent events as a client reads them: a parser by the standard, a reader with deadlines."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import ClientResponse

from tests.support import DEADLINE


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
