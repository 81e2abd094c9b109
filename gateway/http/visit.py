"""What one stream occupies, from its admission to its end, wherever it is ended.

It outlives the handler that opens the stream, so it is a plain object: the frames of nested context
managers would cost every open stream 3 KiB.
"""

import asyncio

from aiohttp import web

from gateway.access.quota import Place
from gateway.fanout.expiry import Expiry
from gateway.fanout.hub import Hub
from gateway.fanout.subscriber import Subscriber
from gateway.http.access_log import log_stream
from gateway.viewer import Viewer


class Visit:
    """One stream's place in the quotas, in the hub and among those whose token expires."""

    __slots__ = ("_expiry", "_hub", "_place", "_request_line", "_subscriber")

    def __init__(self, hub: Hub, expiry: Expiry, place: Place) -> None:
        self._hub = hub
        self._expiry = expiry
        self._place = place
        self._subscriber: Subscriber | None = None
        self._request_line: str | None = None

    def begin(self, viewer: Viewer) -> Subscriber:
        """Enter the hub: what is published from now on is not missed. Raises as `Hub.add`."""
        self._subscriber = self._hub.add(viewer)
        return self._subscriber

    def log_as(self, request: web.Request) -> None:
        """Log the end of the stream that was opened by *request*."""
        self._request_line = f'{request.remote or "-"} "{request.method} {request.path}"'

    def leave(self, written: int = 0) -> None:
        """Give everything back; *written*: bytes of the body, for the access log. Calling it again
        changes nothing."""
        subscriber, self._subscriber = self._subscriber, None
        if subscriber is not None:
            self._hub.remove(subscriber)
            self._expiry.remove(subscriber)
            if self._request_line is not None:
                seconds = asyncio.get_running_loop().time() - subscriber.opened_at
                log_stream(self._request_line, written, seconds)
        self._place.leave()
