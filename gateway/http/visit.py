"""What one stream occupies, from its admission to its end, wherever it is ended.

It outlives the handler that opens the stream, so it is a plain object: the frames of nested context
managers would cost every open stream 3 KiB.
"""

import asyncio
import logging

from gateway.access.quota import Permit
from gateway.fanout.expiry import Expiry
from gateway.fanout.hub import Hub
from gateway.fanout.subscriber import Subscriber
from gateway.log import event
from gateway.metrics import Metrics
from gateway.principal import Principal

log = logging.getLogger("gateway.streams")


class Visit:
    """One stream's place in the quotas, in the hub and among those whose token expires."""

    __slots__ = ("_expiry", "_hub", "_metrics", "_place", "_request_id", "_subscriber")

    def __init__(self, hub: Hub, expiry: Expiry, permit: Permit, metrics: Metrics) -> None:
        self._hub = hub
        self._expiry = expiry
        self._place = permit
        self._metrics = metrics
        self._subscriber: Subscriber | None = None
        self._request_id: str | None = None

    def begin(self, principal: Principal) -> Subscriber:
        """Enter the hub: what is published from now on is not missed. Raises as `Hub.add`."""
        self._subscriber = self._hub.add(principal)
        return self._subscriber

    def opened(self, request_id: str) -> None:
        """It is a stream from now on, opened by the request of this id: its end is counted too,
        and logged."""
        self._metrics.streams_opened += 1
        self._request_id = request_id

    def leave(self, written: int = 0) -> None:
        """Give everything back; *written*: bytes of the body. Calling it again changes nothing."""
        subscriber, self._subscriber = self._subscriber, None
        if subscriber is not None:
            self._hub.remove(subscriber)
            self._expiry.remove(subscriber)
            if self._request_id is not None:
                self._metrics.streams_closed[subscriber.reason] += 1
                self._metrics.bytes_delivered += written
                _log(subscriber, written, self._request_id)
        self._place.leave()


def _log(subscriber: Subscriber, written: int, request_id: str) -> None:
    seconds = asyncio.get_running_loop().time() - subscriber.opened_at
    event(
        log,
        "stream ended",
        execution_id=subscriber.execution_id,
        organization_id=subscriber.principal.organization_id,
        reason=subscriber.reason,
        events=subscriber.delivered,
        bytes=written,
        seconds=round(seconds, 3),
        request_id=request_id,
    )
