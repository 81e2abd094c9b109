"""`GET /api/v1/sse/executions/{execution_id}/stream`: the event stream itself.

The handler is the only writer of its connection. It subscribes first and asks questions after, so
that nothing published while the request is held is lost; nothing is written before it is admitted.
"""

from dataclasses import dataclass

from aiohttp import HttpVersion11, web

from gateway.access.policy import Policy, hold
from gateway.bus.subscription import Subscription
from gateway.events.sse import connected
from gateway.fanout.heartbeat import Heartbeat
from gateway.fanout.hub import Hub, jittered_retry_ms
from gateway.fanout.subscriber import Subscriber
from gateway.http.credentials import read_credentials
from gateway.http.errors import STREAM_HEADERS
from gateway.http.outlet import Outlet, StallWatch


@dataclass(frozen=True, slots=True)
class StreamHandler:
    """Serves streams; `wait` is how many seconds a request is held while Redis is away."""

    policy: Policy
    hub: Hub
    subscription: Subscription
    heartbeat: Heartbeat
    stalls: StallWatch
    wait: float

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One stream, from its request to its end."""
        execution_id = request.match_info["execution_id"]
        credentials = read_credentials(request)
        self.policy.identify(execution_id, credentials)
        organization_id = credentials.organization_id or ""
        response = web.StreamResponse(headers=STREAM_HEADERS)
        if request.version < HttpVersion11:
            # Without chunks only the end of the connection can end the body.
            response.force_close()
        try:
            with self.hub.subscription(execution_id, organization_id) as subscriber:
                await self._admit(execution_id, organization_id)
                await response.prepare(request)
                await self._pump(request, response, subscriber)
            await response.write_eof()
        except ConnectionResetError:
            # The reader has left: the usual end of a stream, and nobody is there to be told.
            pass
        return response

    async def _admit(self, execution_id: str, organization_id: str) -> None:
        await self.policy.admit(execution_id, organization_id)
        # `connected` is a promise that events arrive: it takes a subscription that is confirmed.
        trouble = self.subscription.trouble or ""
        await hold(self.subscription.confirmed(), self.wait, trouble)

    async def _pump(
        self, request: web.Request, response: web.StreamResponse, subscriber: Subscriber
    ) -> None:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError
        outlet = Outlet(response, transport, subscriber, self.stalls)
        try:
            await outlet.write(connected(subscriber.execution_id, jittered_retry_ms()))
            self.heartbeat.add(subscriber)
            while (data := await subscriber.take()) is not None:
                await outlet.write(data)
        finally:
            self.stalls.even(outlet)
