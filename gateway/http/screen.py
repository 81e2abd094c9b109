"""What a client sends, parsed before aiohttp's own protocol sees it, so that garbage stops here.

aiohttp words a parse error with all that it had read and keeps it in a cycle of references (the
error, its trace, the frame that caught it), one for each further read, until the collector comes.
The same parser in front of it fails first, on a few KiB, and the error is dropped at once. That
costs 5 microseconds a request.
"""

import asyncio
from enum import Enum
from typing import NamedTuple

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpProcessingError, HttpRequestParser
from aiohttp.http_exceptions import LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

MAX_LINE_BYTES = 8192
"""Most bytes of a request's target, and of one header's value: a token of many claims takes 4 KiB,
in the header or in the query; nginx by default passes on no more either."""

MAX_HEADERS = 64
"""Most headers of a request: browsers send some 20, and proxies add a few."""

MAX_SLASHES = 64
"""Most slashes of a target's path; ours have seven. At each of them aiohttp looks for a route, and
copies the path."""

MAX_HEAD_BYTES = 64 * 1024
"""Most bytes of a request before its body, about: nginx passes on half of it."""

PIECE_BYTES = 8192
"""Bytes that are parsed at once: what a parse error repeats."""

_NEVER_FULL = 2**30
"""Bytes that a body may wait here. It is thrown away piece by piece; aiohttp's own protocol is the
one that makes a client wait."""


class Fault(Enum):
    """Why nothing more is read from a connection."""

    MALFORMED = "malformed_request"
    TOO_LONG = "headers_too_large"
    NO_ROUTE = "not_found"


class Seen(NamedTuple):
    """What a piece holds."""

    requests: int
    """How many heads of requests end in it."""
    length: int
    """How many of its bytes belong to HTTP: less than all where another protocol begins."""
    fault: Fault | None


class Screen:
    """Looks at all that one client sends."""

    __slots__ = ("_body", "_head_bytes", "_parser")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._parser = HttpRequestParser(
            BaseProtocol(loop),
            loop,
            _NEVER_FULL,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_LINE_BYTES,
            max_headers=MAX_HEADERS,
            auto_decompress=False,
        )
        self._body: StreamReader = EMPTY_PAYLOAD
        self._head_bytes = 0

    def look(self, piece: bytes) -> Seen:
        """Look at the next *piece*, at most `PIECE_BYTES`; never again after a fault."""
        try:
            messages, upgraded, tail = self._parser.feed_data(piece)
        except LineTooLong:
            return Seen(0, 0, Fault.TOO_LONG)
        except HttpProcessingError:
            return Seen(0, 0, Fault.MALFORMED)
        if any(message.path.partition("?")[0].count("/") > MAX_SLASHES for message, _ in messages):
            return Seen(0, 0, Fault.NO_ROUTE)
        if messages:
            self._body = messages[-1][1]
        in_body = not self._body.is_eof()
        self._body.read_nowait()
        self._head_bytes = 0 if messages or in_body else self._head_bytes + len(piece)
        if self._head_bytes > MAX_HEAD_BYTES:
            return Seen(0, 0, Fault.TOO_LONG)
        return Seen(len(messages), len(piece) - len(tail) if upgraded else len(piece), None)
