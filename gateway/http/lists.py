"""The executions of an organization: a page of them, and a stream that shows what changes.

What is shown is decided in `gateway.lists`; here are the access check and the connection, as for
the streams and polls of one execution.
"""

import asyncio
import hashlib
from dataclasses import dataclass

import orjson
from aiohttp import web

from gateway.access.list_backend import ListAccess
from gateway.bus.errors import describe_code
from gateway.events.sse_encoder import frame, jittered_retry_ms
from gateway.http.credentials import read_credentials
from gateway.http.handover import is_chunked
from gateway.http.list_query import as_next, read_before, read_filter, read_limit
from gateway.http.poll_answers import PollAnswers
from gateway.http.stream import WITH_HEAD_BYTES, StreamHandler
from gateway.lists.lists import Lists
from gateway.lists.stream import ListStream
from gateway.principal import Principal
from gateway.retry import unavailable

_LOAD_SECONDS = 30.0
"""How long reading a list may take: a hundred histories."""


@dataclass(frozen=True, slots=True)
class ListHandler:
    """Serves lists, with what opens streams of one execution."""

    streams: StreamHandler
    access: ListAccess
    lists: Lists
    answers: PollAnswers

    async def page(self, request: web.Request) -> web.StreamResponse:
        """One page; HEAD gets the headers that GET would."""
        principal = await self._identify(request)
        self.streams.quota.poll(principal)
        asked, limit, after = read_filter(request), read_limit(request), read_before(request)
        viewer = self.access.sees(principal)
        await self.streams.policy.admit_organization(principal)
        await self._confirmed()
        try:
            async with asyncio.timeout(_LOAD_SECONDS):
                page = await self.lists.page(principal.organization_id, asked, viewer, limit, after)
        except TimeoutError:
            raise unavailable("The list could not be read in time.") from None
        following = as_next(page.following) if page.following is not None else None
        body = b'{"executions":[%b],"next":%b}' % (
            b",".join(page.executions),
            orjson.dumps(following),
        )
        tag = hashlib.blake2b(body, digest_size=16).hexdigest()
        headers = {"ETag": f'W/"{tag}"', "Cache-Control": "private, no-cache"}
        # Weak comparison, as If-None-Match demands (RFC 9110, section 13.1.2).
        if any(one.value in (tag, "*") for one in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        response = web.StreamResponse(headers=headers)
        response.content_type = "application/json"
        response.content_length = len(body)
        await self.answers.write(request, response, [body])
        return response

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Everything up to the first snapshot; the rest of a stream needs no handler."""
        one = self.streams
        principal = await self._identify(request)
        asked, limit = read_filter(request), read_limit(request)
        viewer = self.access.sees(principal)
        permit = await one.quota.enter(principal, one.address(request))
        try:
            stream = ListStream(principal, permit, one.hub)
            one.hub.add_composite(stream)
        except BaseException:
            permit.leave()
            raise
        try:
            await one.policy.admit_organization(principal)
            await self._confirmed()
            async with asyncio.timeout(_LOAD_SECONDS):
                stream.snapshot_of_all = await self.lists.join(stream, asked, viewer, limit)
            if not viewer.is_asked or viewer.sees_any:
                await one.quota.admitted(permit, principal)
            return await self._open(request, stream)
        except TimeoutError:
            stream.leave()
            raise unavailable("The list could not be read in time.") from None
        except BaseException:
            stream.leave()
            raise

    async def _identify(self, request: web.Request) -> Principal:
        return await self.streams.policy.identify_list(
            request.match_info["organization_id"], read_credentials(request, self.streams.cookie)
        )

    async def _confirmed(self) -> None:
        """Wait until events can come: what is shown is a promise that they do."""
        problem = self.streams.subscription.problem
        if problem is None:
            return
        try:
            async with asyncio.timeout(self.streams.wait):
                await self.streams.subscription.confirmed()
        except TimeoutError:
            raise unavailable(problem or describe_code("timeout")) from None

    async def _open(self, request: web.Request, stream: ListStream) -> web.StreamResponse:
        """Write `connected` and the snapshot, and hand the connection over to *stream*."""
        first = frame(
            "connected",
            {
                "organization_id": stream.principal.organization_id,
                "heartbeat_seconds": self.streams.heartbeat.interval,
            },
            jittered_retry_ms(),
        )
        first += stream.snapshot_of_all()
        first, rest = first[:WITH_HEAD_BYTES], first[WITH_HEAD_BYTES:]
        chunked = is_chunked(request)

        def attach(transport: asyncio.Transport) -> None:
            stream.attach(transport, rest, len(first), chunked=chunked)

        return await self.streams.start(request, stream, first, attach)
