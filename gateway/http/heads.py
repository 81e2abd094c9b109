"""The heads of streams as bytes, each made by aiohttp once.

They differ in the date and the request's id alone, and for pages of other origins in what CORS
adds. Having aiohttp, aiohttp-cors and our own middlewares make each one takes ten times as long.
"""

import time
from email.utils import formatdate
from functools import lru_cache

from aiohttp import HttpVersion11, web

from gateway.http.access_log import REQUEST_ID_HEADER, request_id

_MOST = 16
"""Most origins whose heads are known: with `*` any page may send one."""

_ORIGIN = 256
"""Most characters of such an origin."""

_VARIABLE = {"Date": "%(date)b", REQUEST_ID_HEADER: "%(request_id)b"}


class Heads:
    """The heads of chunked streams, by the origin of the page that asks."""

    def __init__(self) -> None:
        self._known: dict[str | None, bytes] = {}

    def __len__(self) -> int:
        """How many are known."""
        return len(self._known)

    def of(self, request: web.Request) -> bytes | None:
        """The head of the answer to *request*; None where aiohttp must make it."""
        known = self._known.get(request.headers.get("Origin"))
        if known is None or request.version != HttpVersion11:
            return None
        date = _date(int(time.time()))
        return known % {b"date": date, b"request_id": request_id(request).encode()}

    def learn(self, request: web.Request, response: web.StreamResponse) -> None:
        """Remember the head of *response*, which aiohttp has begun."""
        origin = request.headers.get("Origin")
        if (
            request.version != HttpVersion11
            or len(self._known) >= _MOST
            or (origin is not None and (len(origin) > _ORIGIN or not origin.isascii()))
        ):
            return
        lines = [f"HTTP/1.1 {response.status} {response.reason}"]
        for name, value in response.headers.items():
            lines.append(f"{name}: {_VARIABLE.get(name) or value.replace('%', '%%')}")
        self._known[origin] = "\r\n".join([*lines, "", ""]).encode()


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()
