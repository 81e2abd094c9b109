"""`GET /api/v1/sse/executions/{execution_id}/stream`: the event stream itself.

The handler is the only writer of its connection. It subscribes first and asks questions after, so
that nothing published while the request is held is lost; nothing is written before it is admitted.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import HttpVersion11, web

from gateway.access.patience import unavailable
from gateway.access.policy import Policy
from gateway.access.quota import Quota
from gateway.bus.replay import Replay
from gateway.bus.subscription import Subscription
from gateway.errors import RedisUnavailable
from gateway.events.cursor import Id, parse_id
from gateway.events.sse import connected
from gateway.events.stretch import Stretch
from gateway.fanout.expiry import Expiry
from gateway.fanout.heartbeat import Heartbeat
from gateway.fanout.hub import Hub, jittered_retry_ms
from gateway.fanout.subscriber import HELD, Subscriber
from gateway.http.address import Network, client_address
from gateway.http.catch_up import CatchUp
from gateway.http.credentials import read_credentials
from gateway.http.errors import STREAM_HEADERS
from gateway.http.outlet import Outlet, StallWatch

_PAUSE = 0.1
"""Seconds between two tries to read history while Redis is away and the request is held."""


@dataclass(frozen=True, slots=True)
class StreamHandler:
    """Serves streams; `wait` is how many seconds a request is held while Redis is away."""

    policy: Policy
    quota: Quota
    trusted_proxies: Sequence[Network]
    hub: Hub
    subscription: Subscription
    replay: Replay
    catch_up: CatchUp
    heartbeat: Heartbeat
    expiry: Expiry
    stalls: StallWatch
    wait: float

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One stream, from its request to its end."""
        viewer = await self.policy.identify(
            request.match_info["execution_id"], read_credentials(request)
        )
        response = web.StreamResponse(headers=STREAM_HEADERS)
        if request.version < HttpVersion11:
            # Without chunks only the end of the connection can end the body.
            response.force_close()
        place = await self.quota.enter(viewer, client_address(request, self.trusted_proxies))
        try:
            with self.hub.subscription(viewer) as subscriber:
                subscriber.position = read_cursor(request)
                await self.policy.admit(viewer)
                try:
                    outlet = await self._open(request, response, subscriber)
                    if outlet is None:
                        return web.Response(status=204, headers={"Cache-Control": "no-store"})
                    await self._follow(subscriber, outlet)
                finally:
                    self.expiry.remove(subscriber)
            await response.write_eof()
        except ConnectionResetError:
            # The reader has left: the usual end of a stream, and nobody is there to be told.
            pass
        finally:
            place.leave()
        return response

    async def _open(
        self, request: web.Request, response: web.StreamResponse, subscriber: Subscriber
    ) -> Outlet | None:
        """Write `connected` and the first page; None for a reader that has seen the end.

        A function that returns, so that an idle stream does not keep its first page.
        """
        stretch = await self._begin(subscriber)
        if stretch.is_over_for(subscriber.position):
            return None
        await response.prepare(request)
        if request.transport is None:
            raise ConnectionResetError
        outlet = Outlet(response, request.transport, subscriber, self.stalls)
        status = stretch.ending.status if stretch.ending is not None else None
        await outlet.write(connected(subscriber.execution_id, jittered_retry_ms(), status))
        self.heartbeat.add(subscriber)
        self.expiry.add(subscriber)
        await self.catch_up.run(subscriber, outlet, stretch)
        return outlet

    async def _follow(self, subscriber: Subscriber, outlet: Outlet) -> None:
        while (data := await subscriber.take()) is not None:
            if data is HELD:
                await self.catch_up.run(subscriber, outlet)
            else:
                await outlet.write(data)

    async def _begin(self, subscriber: Subscriber) -> Stretch:
        """The first page of history, once the subscription that continues it is confirmed.

        Raises:
            Unavailable: Redis was away for as long as a request is held.
        """
        trouble = ""
        try:
            async with asyncio.timeout(self.wait):
                while True:
                    trouble = self.subscription.trouble or trouble
                    # `connected` is a promise that events arrive.
                    await self.subscription.confirmed()
                    subscriber.collect()
                    try:
                        return await self.replay.after(subscriber.execution_id, subscriber.position)
                    except RedisUnavailable as error:
                        trouble = str(error)
                        await asyncio.sleep(_PAUSE)
        except TimeoutError:
            raise unavailable(trouble or "Redis does not answer in time.") from None


def read_cursor(request: web.Request) -> Id | None:
    """Where a returning reader stands: the header, else the query for objects without headers.

    Anything that is no id of ours means full history, not an error: some SDKs send `-1`.
    """
    return parse_id(request.headers.get("Last-Event-ID") or request.query.get("last_event_id"))
