"""Parses an event stream as an EventSource does, for the tools that open streams."""

from functools import lru_cache
from typing import NamedTuple

_MOST_DIGITS = 10
"""Of a `retry:`; with more it is no usable time, and Python refuses to read very many."""


class Frame(NamedTuple):
    """One event as an EventSource would dispatch it."""

    event: str
    data: bytes
    id: str | None
    retry_ms: int | None = None


class EventStream:
    """The body of an event stream (WHATWG HTML, section 9.2.6), cut into frames."""

    __slots__ = ("_after_cr", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        self._after_cr = False

    def feed(self, body: bytes) -> list[Frame]:
        """The events that *body* completes; blocks without data are none."""
        if self._after_cr or b"\r" in body:
            body = self._with_line_feeds(body)
        *blocks, self._rest = (self._rest + body).split(b"\n\n")
        return [frame for block in blocks if (frame := read_frame(block)) is not None]

    def _with_line_feeds(self, body: bytes) -> bytes:
        """A line may end with CR, LF or both, and both may come in two pieces."""
        if not body:
            return body
        if self._after_cr:
            body = body.removeprefix(b"\n")
        self._after_cr = body.endswith(b"\r")
        return body.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


# All tabs of an execution get the same bytes at about the same time: most frames are parsed once.
@lru_cache(maxsize=1024)
def read_frame(block: bytes) -> Frame | None:
    """The event of a block of lines without its blank line, or None if it has no data."""
    event, event_id, retry_ms = b"", None, None
    data: list[bytes] = []
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            event = value
        elif field == b"id":
            event_id = value.decode("utf-8", "replace")
        elif field == b"retry" and value.isdigit() and len(value) < _MOST_DIGITS:
            retry_ms = int(value)
    if not data:
        return None
    return Frame(
        event.decode("utf-8", "replace") or "message", b"\n".join(data), event_id, retry_ms
    )
