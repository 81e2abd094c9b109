"""`GET /api/v1/sse/executions/{execution_id}/stream`: how a stream is opened.

The handler subscribes first and checks access afterwards, so that nothing published while the
request waits is lost; nothing is written before the request is admitted. After the first page of
history, it hands the connection over to the subscriber and returns.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from aiohttp import web

from gateway.access.policy import Policy
from gateway.access.quota import Permit, Quota
from gateway.bus.errors import describe_code
from gateway.bus.shards import AnySubscription
from gateway.errors import ExecutionForgotten, ExecutionNotFound, RedisUnavailable
from gateway.events.batch import as_chunk
from gateway.events.ending import TerminalTypes
from gateway.events.history_page import HistoryPage
from gateway.events.sse_encoder import connected, jittered_retry_ms
from gateway.fanout.expiry import Expiry
from gateway.fanout.heartbeat import Heartbeat
from gateway.fanout.hub import Hub
from gateway.fanout.stream import Stream
from gateway.fanout.subscriber import Subscriber
from gateway.http.access_log import request_id
from gateway.http.address import Network, client_address
from gateway.http.credentials import TokenCookie, read_credentials, read_cursor
from gateway.http.handover import begin, hand_over, is_chunked, sent
from gateway.http.heads import Heads
from gateway.http.responses import STREAM_HEADERS
from gateway.principal import Principal
from gateway.retry import unavailable

WITH_HEAD_BYTES = 32 * 1024
"""What of the first page leaves with the response's head. Less than aiohttp waits for a reader to
take (64 KiB): it would wait without end, and only a subscriber is watched."""

PAUSE = 0.1
"""Seconds between two tries to read history while Redis is away and the request is held."""


@dataclass(frozen=True, slots=True)
class StreamHandler:
    """Opens streams; `wait` is how many seconds a request is held while Redis is away;
    `terminal_types` are those that `connected` names."""

    policy: Policy
    quota: Quota
    trusted_proxies: Sequence[Network]
    hub: Hub
    subscription: AnySubscription
    heartbeat: Heartbeat
    expiry: Expiry
    wait: float
    terminal_types: TerminalTypes | None = None
    cookie: TokenCookie | None = None
    _heads: Heads = field(default_factory=Heads, init=False)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Everything up to the first page of history; the rest of a stream needs no handler."""
        principal = await self.policy.identify(
            request.match_info["execution_id"], read_credentials(request, self.cookie)
        )
        permit = await self.quota.enter(principal, self.address(request))
        cursor = read_cursor(request)
        try:
            subscriber = self.hub.add(principal, cursor, permit)
        except BaseException:
            permit.leave()
            raise
        try:
            page = await self._admit(principal, permit, subscriber)
            if not page.is_over_for(cursor):
                return await self._open(request, subscriber, page)
        except BaseException:
            subscriber.leave()
            raise
        subscriber.leave()
        return web.Response(status=204, headers={"Cache-Control": "no-store"})

    async def _admit(
        self, principal: Principal, permit: Permit, subscriber: Subscriber
    ) -> HistoryPage:
        """The first page, once *principal* may see it; Redis is asked about both at once."""
        ahead: asyncio.Task[HistoryPage] | None = None

        def read_ahead(organization_id: str) -> None:
            nonlocal ahead
            # `connected` is a promise that events arrive.
            if self.subscription.problem_of(subscriber.execution_id) is None:
                ahead = subscriber.opening.read_ahead(organization_id)

        try:
            await self.policy.admit(principal, read_ahead=read_ahead)
            await self.quota.admitted(permit, principal)
            if ahead is not None and not self.subscription.problem_of(subscriber.execution_id):
                # Registered after it was read, or Redis went away: asked again below.
                with suppress(ExecutionNotFound, RedisUnavailable):
                    return await ahead
        finally:
            if ahead is not None:
                ahead.cancel()
                # Its error refers to this frame.
                ahead = None
        return await self._first_page(subscriber)

    def address(self, request: web.Request) -> str:
        """The address by which *request* is counted; empty where none is."""
        return client_address(request, self.trusted_proxies) if self.quota.by_address else ""

    async def _open(
        self, request: web.Request, subscriber: Subscriber, page: HistoryPage
    ) -> web.StreamResponse:
        """Write `connected` and the first page, and hand the connection over to *subscriber*."""
        status = page.ending.status if page.ending is not None else None
        first = connected(
            subscriber.execution_id,
            jittered_retry_ms(),
            self.heartbeat.interval,
            page.catches_up_to,
            status,
            self.terminal_types,
            read_cursor(request),
        )
        frames = await subscriber.opening.render(page)
        first += frames or b""
        shown = page if frames is not None else None
        first, rest = first[:WITH_HEAD_BYTES], first[WITH_HEAD_BYTES:]
        chunked = is_chunked(request)

        def attach(transport: asyncio.Transport) -> None:
            subscriber.attach(transport, shown, rest, len(first), chunked=chunked)

        return await self.start(request, subscriber, first, attach)

    async def start(
        self,
        request: web.Request,
        stream: Stream,
        first: bytes,
        attach: Callable[[asyncio.Transport], None],
    ) -> web.StreamResponse:
        """Write *first*, what a stream begins with, and hand the connection over by *attach*."""
        stream.opened(request_id(request))

        def take_over(transport: asyncio.Transport) -> None:
            self.heartbeat.add(stream)
            self.expiry.add(stream)
            attach(transport)

        head = self._heads.of(request)
        response = sent() if head is not None else begin(request, STREAM_HEADERS)
        try:
            if head is not None:
                hand_over(request, take_over, head + as_chunk(first))
            else:
                await response.prepare(request)
                self._heads.learn(request, response)
                await response.write(first)
                hand_over(request, take_over)
        except ConnectionResetError:
            # The reader has left, and nobody is there to be told.
            stream.leave(len(first))
        return response

    async def _first_page(self, subscriber: Subscriber) -> HistoryPage:
        """The first page of history, once the subscription that continues it is confirmed.

        Raises:
            Unavailable: Redis was away for as long as a request is held.
        """
        problem, execution_id = "", subscriber.execution_id
        if self.subscription.problem_of(execution_id) is None:
            # The usual case after a restart, without a timer.
            known = subscriber.opening.known_page()
            if known is not None:
                return known
        try:
            async with asyncio.timeout(self.wait):
                while True:
                    problem = self.subscription.problem_of(execution_id) or problem
                    # `connected` is a promise that events arrive.
                    await self.subscription.confirmed(execution_id)
                    try:
                        return await subscriber.opening.page()
                    except ExecutionForgotten:
                        raise ExecutionNotFound from None
                    except RedisUnavailable as error:
                        problem = str(error)
                        await asyncio.sleep(PAUSE)
        except TimeoutError:
            raise unavailable(problem or describe_code("timeout")) from None
