"""`GET /api/v1/sse/executions/{execution_id}/stream`: how a stream is opened.

The handler subscribes first and asks questions after, so that nothing published while the request
is held is lost; nothing is written before it is admitted. Once the first page of history is
written, it hands the connection over to an outlet and returns.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import web

from gateway.access.policy import Policy
from gateway.access.quota import Quota
from gateway.bus.replay import Replay
from gateway.bus.subscription import Subscription
from gateway.errors import RedisUnavailable
from gateway.events.history_page import HistoryPage
from gateway.events.ids import EventId, parse_id
from gateway.events.sse_encoder import connected, jittered_retry_ms
from gateway.fanout.expiry import Expiry
from gateway.fanout.heartbeat import Heartbeat
from gateway.fanout.hub import Hub
from gateway.fanout.subscriber import Subscriber
from gateway.http.access_log import request_id
from gateway.http.address import Network, client_address
from gateway.http.catch_up import CatchUp
from gateway.http.credentials import read_credentials
from gateway.http.handover import begin, is_chunked, release
from gateway.http.outlet import Care, Outlet
from gateway.http.responses import STREAM_HEADERS
from gateway.http.visit import Visit
from gateway.metrics import Metrics
from gateway.retry import unavailable

_WITH_HEAD_BYTES = 32 * 1024
"""What of the first page leaves with the response's head. Less than aiohttp waits for a reader to
take (64 KiB): it would wait for ever, and only an outlet is watched."""

_PAUSE = 0.1
"""Seconds between two tries to read history while Redis is away and the request is held."""


@dataclass(frozen=True, slots=True)
class StreamHandler:
    """Opens streams; `wait` is how many seconds a request is held while Redis is away."""

    policy: Policy
    quota: Quota
    trusted_proxies: Sequence[Network]
    hub: Hub
    subscription: Subscription
    replay: Replay
    catch_up: CatchUp
    heartbeat: Heartbeat
    expiry: Expiry
    care: Care
    metrics: Metrics
    wait: float

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Everything up to the first page of history; the rest of a stream needs no handler."""
        principal = await self.policy.identify(
            request.match_info["execution_id"], read_credentials(request)
        )
        permit = await self.quota.enter(principal, self._address(request))
        visit = Visit(self.hub, self.expiry, permit, self.metrics)
        try:
            subscriber = visit.begin(principal)
            subscriber.position = read_cursor(request)
            await self.policy.admit(principal)
            await self.quota.admitted(permit, principal)
            stretch = await self._begin(subscriber)
            if not stretch.is_over_for(subscriber.position):
                return await self._open(request, visit, subscriber, stretch)
        except BaseException:
            visit.leave()
            raise
        visit.leave()
        return web.Response(status=204, headers={"Cache-Control": "no-store"})

    def _address(self, request: web.Request) -> str:
        return client_address(request, self.trusted_proxies) if self.quota.by_address else ""

    async def _open(
        self, request: web.Request, visit: Visit, subscriber: Subscriber, stretch: HistoryPage
    ) -> web.StreamResponse:
        """Write `connected` and the first page, and hand the connection over to an outlet."""
        status = stretch.ending.status if stretch.ending is not None else None
        first = connected(
            subscriber.execution_id,
            jittered_retry_ms(),
            self.heartbeat.interval,
            stretch.catches_up_to,
            status,
        )
        first += await self.catch_up.page(subscriber, stretch, again=False)
        first, rest = first[:_WITH_HEAD_BYTES], first[_WITH_HEAD_BYTES:]
        response = begin(request, STREAM_HEADERS)
        visit.opened(request_id(request))
        try:
            await response.prepare(request)
            await response.write(first)
            transport = release(request)
        except ConnectionResetError:
            # The reader has left, and nobody is there to be told.
            visit.leave(len(first))
            return response
        # From here on nothing may wait: aiohttp has cancelled this task.
        self.heartbeat.add(subscriber)
        self.expiry.add(subscriber)
        self.catch_up.settle(subscriber, stretch)
        outlet = Outlet(
            subscriber,
            self.care,
            visit.leave,
            chunked=is_chunked(request),
            written=len(first),
        )
        outlet.take_over(transport, rest)
        return response

    async def _begin(self, subscriber: Subscriber) -> HistoryPage:
        """The first page of history, once the subscription that continues it is confirmed.

        Raises:
            Unavailable: Redis was away for as long as a request is held.
        """
        problem = ""
        subscriber.collect()
        if self.subscription.problem is None:
            # The usual case after a restart, without a timer.
            known = self.replay.known(subscriber.execution_id, subscriber.position)
            if known is not None:
                return known
        try:
            async with asyncio.timeout(self.wait):
                while True:
                    problem = self.subscription.problem or problem
                    # `connected` is a promise that events arrive.
                    await self.subscription.confirmed()
                    subscriber.collect()
                    try:
                        return await self.replay.after(subscriber.execution_id, subscriber.position)
                    except RedisUnavailable as error:
                        problem = str(error)
                        await asyncio.sleep(_PAUSE)
        except TimeoutError:
            raise unavailable(problem or "Redis does not answer in time.") from None


def read_cursor(request: web.Request) -> EventId | None:
    """Where a returning reader stands: the header, else the query for objects without headers.

    Anything that is no id of ours means full history, not an error: some SDKs send `-1`.
    """
    given = request.headers.get("Last-Event-ID")
    if not given and request.rel_url.raw_query_string:
        given = request.query.get("last_event_id")
    return parse_id(given)
