"""`GET /api/v1/sse/executions/stream`: how a stream of several executions is opened.

It is opened like a stream of one execution: what is published meanwhile is not lost, and nothing is
written before it is admitted. Each execution is admitted separately; the stream names those that
may not be seen.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from aiohttp import web

from gateway.access.policy import SetRequest
from gateway.bus.errors import describe_code
from gateway.errors import RedisUnavailable
from gateway.events.sse_encoder import absent, connected_to_set, jittered_retry_ms
from gateway.fanout.set_stream import SetStream
from gateway.http.credentials import read_credentials, read_set_cursor
from gateway.http.handover import is_chunked
from gateway.http.set_request import admit_most, execution_ids_of, streams_of
from gateway.http.stream import PAUSE, StreamHandler
from gateway.retry import unavailable
from gateway.tasks import cancel_all

_CONFIRMED_WITHIN = 1.0
"""Seconds that a set waits for the last of its executions, while others are confirmed."""


@dataclass(frozen=True, slots=True)
class SetHandler:
    """Opens streams of several executions, with what opens those of one."""

    streams: StreamHandler

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Everything up to `connected`; the rest of a stream needs no handler."""
        one = self.streams
        asked = await one.policy.identify_set(
            execution_ids_of(request), read_credentials(request, one.cookie)
        )
        weight = streams_of(asked)
        permit = await one.quota.enter(asked.whole, one.address(request), weight)
        try:
            stream = SetStream(asked.whole, one.hub, permit, weight)
            one.hub.add_composite(stream)
        except BaseException:
            permit.leave()
            raise
        try:
            stream.follow(asked.parts, read_set_cursor(request))
            stream.keep(*await admit_most(one.policy, asked))
            await one.quota.admitted(permit, asked.whole)
            if not await self._is_over(stream):
                return await self._open(request, stream, asked)
        except BaseException:
            stream.leave()
            raise
        stream.leave()
        return web.Response(status=204, headers={"Cache-Control": "no-store"})

    async def _is_over(self, stream: SetStream) -> bool:
        """Whether all have ended and were seen, once the subscription is confirmed.

        Raises:
            Unavailable: Redis was away for as long as a request is held.
        """
        problem = ""
        try:
            async with asyncio.timeout(self.streams.wait):
                while True:
                    if waiting := self._unconfirmed(stream):
                        problem = next(iter(waiting.values()))
                        await self._wait_for(waiting, are_all=len(waiting) == len(stream.parts))
                    try:
                        return await stream.is_over()
                    except RedisUnavailable as error:
                        problem = str(error)
                        await asyncio.sleep(PAUSE)
        except TimeoutError:
            raise unavailable(problem or describe_code("timeout")) from None

    def _unconfirmed(self, stream: SetStream) -> dict[str, str]:
        """Executions of which no event can arrive now, and why."""
        problem_of = self.streams.subscription.problem_of
        return {one: why for one in stream.execution_ids if (why := problem_of(one))}

    async def _wait_for(self, waiting: Iterable[str], *, are_all: bool) -> None:
        """Wait until events of these arrive, since `connected` is a promise that they do. But a
        lost node of a cluster delays no others: its executions follow when it is back, as those of
        a stream that was open before."""
        confirmed = self.streams.subscription.confirmed
        tasks = [asyncio.ensure_future(confirmed(one)) for one in waiting]
        try:
            if are_all:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait(tasks, timeout=_CONFIRMED_WITHIN)
        finally:
            await cancel_all(tasks)

    async def _open(
        self, request: web.Request, stream: SetStream, asked: SetRequest
    ) -> web.StreamResponse:
        """Write `connected` and who is absent, and hand the connection over to *stream*."""
        followed = stream.execution_ids
        first = connected_to_set(
            followed,
            jittered_retry_ms(),
            self.streams.heartbeat.interval,
            self.streams.terminal_types,
            stream.cursor,
        )
        seen = set(followed)
        others = [one for one in (*asked.execution_ids, *asked.absent) if one not in seen]
        first += b"".join(map(absent, others))
        chunked = is_chunked(request)

        def attach(transport: asyncio.Transport) -> None:
            stream.attach(transport, len(first), chunked=chunked)

        return await self.streams.start(request, stream, first, attach)
