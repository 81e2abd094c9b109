"""The access log and request ids: never the query, which may hold a token.

aiohttp's own access log has the whole request line. Its server log would have what it cannot parse,
but `gateway.http.screen` lets none of that through.
"""

import logging
import re
from random import getrandbits

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from gateway.http.handover import HandedOver
from gateway.log import event

REQUEST_ID_HEADER = "X-Request-ID"

_USABLE = re.compile(r"[A-Za-z0-9_.:=+/-]{1,128}")
"""A client's id that may be logged; any other is replaced."""

_REQUEST_ID = web.RequestKey("request_id", str)


def request_id(request: web.BaseRequest) -> str:
    """The id of *request*: the client's, or a random one."""
    known = request.get(_REQUEST_ID)
    if known is None:
        known = request.headers.get(REQUEST_ID_HEADER)
        if known is None or not _USABLE.fullmatch(known):
            # It gives no access, so it may be guessed.
            known = f"{getrandbits(128):032x}"
        request[_REQUEST_ID] = known
    return known


access_log = logging.getLogger("gateway.access_log")
server_log = logging.getLogger("gateway.server")


class AccessLogger(AbstractAccessLogger):
    """One line a request, at the end of its response; a stream has a line of its own."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Called by aiohttp at the end of each response; *time* is in seconds."""
        if isinstance(response, HandedOver):
            return
        event(
            self.logger,
            "request",
            remote=request.remote or "-",
            method=request.method,
            path=request.path,
            status=response.status,
            bytes=response.body_length,
            seconds=round(time, 3),
            request_id=request_id(request),
        )

    @property
    def enabled(self) -> bool:
        return self.logger.isEnabledFor(logging.INFO)
