"""Parses an event stream as an EventSource does, for the tools that open streams."""

from codecs import BOM_UTF8
from functools import lru_cache
from typing import NamedTuple

_MOST_DIGITS = 10
"""Of a `retry:`; with more it is no usable time, and Python refuses to read very many."""


class Frame(NamedTuple):
    """One event as an EventSource would dispatch it; without an `event` where a block has no data:
    it sets only the id or the time."""

    event: str
    data: bytes
    id: str | None
    retry_ms: int | None = None


class EventStream:
    """The body of an event stream (WHATWG HTML, section 9.2.6), cut into frames."""

    __slots__ = ("_after_cr", "_began", "_pieces")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._began = False
        self._after_cr = False

    def feed(self, body: bytes) -> list[Frame]:
        """The events that *body* completes, and blocks that set something without one."""
        if self._after_cr or b"\r" in body:
            body = self._with_line_feeds(body)
        if not body:
            return []
        ends_here = body[:1] == b"\n" and self._pieces and self._pieces[-1].endswith(b"\n")
        self._pieces.append(body)
        # Only what is new is searched: a large event arrives in many pieces.
        if not ends_here and b"\n\n" not in body:
            return []
        whole = b"".join(self._pieces)
        if not self._began:
            whole, self._began = whole.removeprefix(BOM_UTF8), True
        *blocks, rest = whole.split(b"\n\n")
        self._pieces = [rest] if rest else []
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
    """The event of a block of lines without its blank line, or None if it sets nothing."""
    event, event_id, retry_ms = b"", None, None
    data: list[bytes] = []
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            event = value
        elif field == b"id" and b"\0" not in value:
            event_id = value.decode("utf-8", "replace")
        elif field == b"retry" and value.isdigit() and len(value) < _MOST_DIGITS:
            retry_ms = int(value)
    if not data:
        is_nothing = event_id is None and retry_ms is None
        return None if is_nothing else Frame("", b"", event_id, retry_ms)
    return Frame(
        event.decode("utf-8", "replace") or "message", b"\n".join(data), event_id, retry_ms
    )
