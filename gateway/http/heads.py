"""The headers of streams, and of answers to producers, as bytes: aiohttp makes each of them once.

They differ only in the date, the length and the request's id, and for pages of other origins in
what CORS adds. If aiohttp, aiohttp-cors and our own middlewares made them for each request, this
would take ten times as long.
"""

import time
from collections import defaultdict
from email.utils import formatdate
from functools import lru_cache

import orjson
from aiohttp import HttpVersion11, web

from gateway.http.access_log import REQUEST_ID_HEADER, request_id
from gateway.http.responses import json_response

_MOST = 16
"""Most origins whose heads are known: where `*` is allowed, any page may send one."""

_ORIGIN = 256
"""Most characters of such an origin."""

_VARIABLE = {
    "Content-Length": "%(length)d",
    "Date": "%(date)b",
    REQUEST_ID_HEADER: "%(request_id)b",
}


class Heads:
    """The heads of one kind of answer, by the origin of the page that asks."""

    def __init__(self) -> None:
        self._known: dict[str | None, bytes] = {}

    def __len__(self) -> int:
        """How many are known."""
        return len(self._known)

    def of(self, request: web.Request, length: int = 0) -> bytes | None:
        """The head of the answer to *request*, with a body of *length* bytes if it is no stream;
        None where aiohttp must make it."""
        known = self._known.get(request.headers.get("Origin"))
        if known is None or request.version != HttpVersion11:
            return None
        date = _date(int(time.time()))
        return known % {
            b"date": date,
            b"length": length,
            b"request_id": request_id(request).encode(),
        }

    def learn(self, request: web.Request, response: web.StreamResponse) -> None:
        """Remember the head of *response*, which aiohttp has begun."""
        origin = request.headers.get("Origin")
        if request.version != HttpVersion11 or len(self._known) >= _MOST:
            return
        if origin is not None and (
            # Another origin is logged as its answer is prepared (`gateway.http.cors`).
            "Access-Control-Allow-Origin" not in response.headers
            or len(origin) > _ORIGIN
            or not origin.isascii()
        ):
            return
        lines = [f"HTTP/1.1 {response.status} {response.reason}"]
        for name, value in response.headers.items():
            lines.append(f"{name}: {_VARIABLE.get(name) or value.replace('%', '%%')}")
        self._known[origin] = "\r\n".join([*lines, "", ""]).encode()


class _Written(web.StreamResponse):
    """An answer that is one write."""

    def __init__(self, status: int, data: bytes) -> None:
        super().__init__(status=status)
        self._data = data

    @property
    def keep_alive(self) -> bool:
        """Only for a connection that is kept."""
        return True

    @property
    def body_length(self) -> int:
        """For the access log."""
        return len(self._data)

    async def prepare(self, request: web.BaseRequest) -> None:
        """Called by aiohttp when the handler has returned."""
        if request.transport is None:
            raise ConnectionResetError
        request.transport.write(self._data)

    async def write_eof(self, data: bytes = b"") -> None:
        """The same."""


class Answers:
    """JSON answers whose heads are known from the second one on."""

    def __init__(self) -> None:
        self._heads: defaultdict[int, Heads] = defaultdict(Heads)

    async def answer(
        self, request: web.Request, document: object, status: int
    ) -> web.StreamResponse:
        """What a handler returns to answer *request*."""
        transport, heads = request.transport, self._heads[status]
        # Where the client does not read, aiohttp waits.
        if transport is None or not request.keep_alive:
            return json_response(document, status)
        if not transport.get_write_buffer_size():
            body = orjson.dumps(document)
            if (head := heads.of(request, len(body))) is not None:
                return _Written(status, head + body)
        response = json_response(document, status)
        await response.prepare(request)
        heads.learn(request, response)
        return response


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()
