"""Parses what a client sends before aiohttp's own protocol sees it, and answers what is no request.

aiohttp puts all that it has read into a parse error, and keeps that in a reference cycle for each
further read until the garbage collector runs. The same parser in front of it fails first, on a few
KiB, and the error is freed at once. That costs as much as parsing does, so it is left out for what
cannot be wrong: a plain GET with common headers, first on its connection and in one piece.
"""

import asyncio
import re
from email.utils import formatdate
from enum import Enum
from typing import NamedTuple

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpProcessingError, HttpRequestParser
from aiohttp.http_exceptions import LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from gateway.http.responses import final_error

MAX_LINE_BYTES = 8192
"""Most bytes of a request's target, and of one header's value: a token of many claims takes 4 KiB,
in the header or in the query; nginx by default passes on no more either."""

MAX_HEADERS = 64
"""Most headers of a request: browsers send some 20, and proxies add a few."""

_TOO_MANY_HEADERS = "Too many headers received"
"""How aiohttp tells this from what is no HTTP: the error has no class of its own."""

MAX_HEAD_BYTES = 64 * 1024
"""Most bytes of a request before its body, about: nginx passes on half of it."""

MAX_BODY_BYTES = 1024
"""Most bytes of a POST's body where it has no meaning. The rest of a longer one is dropped
unparsed: chunks of one byte cost 5 microseconds each."""

SET_TICKET_PATH = "/api/v1/sse/executions/ticket"

BODY_BYTES = {SET_TICKET_PATH: 8192}
"""Most bytes of a body by path, where it has a meaning."""

MAX_PUBLISH_BYTES = 1024 * 1024
"""Most bytes of the body of a call that publishes; the handler asks for its length in advance."""

PIECE_BYTES = 8192
"""Bytes that are parsed at once: what a parse error repeats."""

_NEVER_FULL = 2**30
"""Bytes of a body that may wait here. They are thrown away piece by piece; it is aiohttp's own
protocol that makes a client wait."""


MAX_SLASHES = 64
"""Most slashes of a path; the gateway's own have seven. At each one aiohttp looks for a route, and
copies the path."""


_PUBLISH = {
    "POST": re.compile(r"/api/v1/sse/executions/[^/]+/(?:events|restart)"),
    "PUT": re.compile(r"/api/v1/sse/executions/[^/]+"),
}


def publishes(method: str, raw_path: str) -> bool:
    """Whether such a request publishes or registers, where the gateway takes that."""
    path = _PUBLISH.get(method)
    return path is not None and path.fullmatch(raw_path) is not None


_TEXT = rb"[\w.~:%-]++"
_HEADERS = (
    rb"(?:(?i:Accept|Accept-Encoding|Accept-Language|Authorization|Cache-Control|Cookie|DNT"
    rb"|Last-Event-ID|Origin|Pragma|Priority|Referer|Sec-Fetch-(?:Dest|Mode|Site|User)"
    rb"|X-Forwarded-(?:For|Host|Proto)|X-Organization-ID|X-Real-IP|X-Request-ID)"
    rb": [!-~][ -~]*+\r\n){0,24}+"
)
_PRODUCERS = (
    rb"(?:(?i:Accept|Accept-Encoding|Authorization|Content-Type|Idempotency-Key|If-Run"
    rb"|Traceparent|X-Forwarded-(?:For|Host|Proto)|X-Organization-ID|X-Real-IP|X-Request-ID)"
    rb": [!-~][ -~]*+\r\n){0,24}+(?:(?i:User-Agent): [!-~][ -~]*+\r\n)?+"
)
_PLAIN_GET = re.compile(
    rb"GET (?:/" + _TEXT + rb"){1,15}+(?:\?[\w.~:%=&+/-]*+)?+ HTTP/1\.1\r\n"
    rb"Host: [\w.:-]++\r\n" + _HEADERS + rb"(?:(?i:User-Agent): [!-~][ -~]*+\r\n)?+" + _HEADERS
    + rb"\r\n"
)  # fmt: skip
"""A request that cannot be wrong. Each part is possessive, so it takes linear time. aiohttp refuses
a second `Host` or `User-Agent`, and other headers may say something of a body or the connection."""


_PLAIN_POST = re.compile(
    rb"POST (?:/" + _TEXT + rb"){1,15}+ HTTP/1\.1\r\nHost: [\w.:-]++\r\n" + _PRODUCERS
    + rb"Content-Length: ([1-9][0-9]{0,3})\r\n" + _PRODUCERS + rb"\r\n"
)  # fmt: skip
"""The same of a producer, up to its body, whose bytes say nothing of HTTP if they are all there."""


class Fault(Enum):
    """Why nothing more is read from a connection, and what it is answered."""

    MALFORMED = (
        "400 Bad Request",
        "malformed_request",
        "The request is not valid HTTP: correct the client that sent it.",
    )
    # RFC 6585, section 5.
    TOO_LONG = (
        "431 Request Header Fields Too Large",
        "headers_too_large",
        "There are more than 64 headers, or one exceeds 8 KiB, or all of them 64 KiB: send less.",
    )
    # RFC 9110, section 15.5.15.
    URI_TOO_LONG = (
        "414 URI Too Long",
        "uri_too_long",
        "The request line exceeds 8 KiB: shorten it, or get a ticket and send that.",
    )
    NO_ROUTE = ("404 Not Found", "not_found", "Not Found: the paths are in gateway/CONTRACT.md.")

    def __init__(self, status: str, code: str, message: str) -> None:
        self.status = status
        self.code = code
        self.message = message


def most_body_bytes(target: str) -> int:
    """Most bytes of a body of a request for *target*."""
    return BODY_BYTES.get(target.partition("?")[0], MAX_BODY_BYTES)


def _is_plain_post(piece: bytes) -> bool:
    head = _PLAIN_POST.match(piece)
    if head is None or head.end() + int(head[1]) != len(piece):
        return False
    names = head[0].lower()
    # aiohttp refuses a second one of these.
    return names.count(b"\r\nuser-agent:") <= 1 and names.count(b"\r\ncontent-type:") <= 1


def raw_answer(fault: Fault) -> bytes:
    """The whole answer as bytes: without a request there is nothing that aiohttp could answer."""
    response = final_error(int(fault.status[:3]), fault.code, fault.message)
    body = response.body
    assert isinstance(body, bytes)  # noqa: S101 - for the type checker: `error_response` made it
    headers = {
        **response.headers,
        "Content-Length": str(len(body)),
        "Connection": "close",
        "Date": formatdate(usegmt=True),
    }
    lines = [f"HTTP/1.1 {fault.status}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Parsed(NamedTuple):
    """What a piece holds."""

    requests: int
    """How many heads of requests end in it."""
    length: int
    """How many of its bytes belong to HTTP: less than all where another protocol begins."""
    fault: Fault | None = None


class Screen:
    """Parses all that one client sends."""

    __slots__ = (
        "_body", "_body_bytes", "_head_bytes", "_in_first_line", "_loop", "_most_body", "_parser",
        "_publish",
    )  # fmt: skip

    def __init__(self, loop: asyncio.AbstractEventLoop, *, publish: bool = False) -> None:
        """*publish*: producers may send larger bodies."""
        self._loop = loop
        self._publish = publish
        self._most_body = MAX_BODY_BYTES
        self._parser: HttpRequestParser | None = None
        self._body: StreamReader = EMPTY_PAYLOAD
        self._head_bytes = self._body_bytes = 0
        self._in_first_line = True

    def feed(self, piece: bytes) -> Parsed:
        """Parse the next *piece*, at most `PIECE_BYTES`; never again after a fault."""
        if self._parser is None:
            if _PLAIN_GET.fullmatch(piece) or (self._publish and _is_plain_post(piece)):
                return Parsed(1, len(piece))
            self._parser = HttpRequestParser(
                BaseProtocol(self._loop),
                self._loop,
                _NEVER_FULL,
                max_line_size=MAX_LINE_BYTES,
                max_field_size=MAX_LINE_BYTES,
                max_headers=MAX_HEADERS,
                auto_decompress=False,
            )
        if self._body_bytes > self._most_body:
            # It is being refused.
            return Parsed(0, 0)
        try:
            messages, upgraded, tail = self._parser.feed_data(piece)
        except LineTooLong:
            return Parsed(0, 0, Fault.URI_TOO_LONG if self._in_first_line else Fault.TOO_LONG)
        except HttpProcessingError as error:
            is_long = error.message == _TOO_MANY_HEADERS
            return Parsed(0, 0, Fault.TOO_LONG if is_long else Fault.MALFORMED)
        if any(message.path.partition("?")[0].count("/") > MAX_SLASHES for message, _ in messages):
            return Parsed(0, 0, Fault.NO_ROUTE)
        if messages:
            message, self._body = messages[-1]
            self._body_bytes, self._most_body = 0, most_body_bytes(message.path)
            if (
                self._publish
                and not message.chunked
                and publishes(message.method, message.url.raw_path)
            ):
                self._most_body = MAX_PUBLISH_BYTES
        in_body = not self._body.is_eof()
        self._body_bytes += len(self._body.read_nowait())
        self._head_bytes = 0 if messages or in_body else self._head_bytes + len(piece)
        between = bool(messages) or in_body
        self._in_first_line = between or (self._in_first_line and b"\n" not in piece)
        if self._head_bytes > MAX_HEAD_BYTES:
            return Parsed(0, 0, Fault.TOO_LONG)
        return Parsed(len(messages), len(piece) - len(tail) if upgraded else len(piece))
