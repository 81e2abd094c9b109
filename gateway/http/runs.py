"""`GET /api/v1/workflows/{workflow_id}/runs/{execution_id}`: a run as one JSON document.

For clients that cannot keep a stream open. It is folded from the history that streams are served
from, so a client can change from one to the other at any event.

The validator is the ids of the first and the last event that are kept. It is weak: two versions of
the gateway may encode one history differently (RFC 9110, section 8.8.1). A poll that sends it is
answered without reading the history again if nothing follows. Credentials are checked first: a 304
says as much as a 200.
"""

from collections.abc import Collection
from dataclasses import dataclass

from aiohttp import web

from gateway.access.policy import Policy
from gateway.access.quota import Quota
from gateway.bus.registry import Registry
from gateway.errors import (
    ExecutionForgotten,
    ExecutionNotFound,
    MalformedRequest,
    RedisUnavailable,
    Unavailable,
)
from gateway.events.ids import parse_id
from gateway.http.credentials import TokenCookie, read_credentials
from gateway.http.poll_answers import BUFFER_BYTES, Chunk, PollAnswers
from gateway.http.poll_budget import Charge, Payer
from gateway.http.run_cache import Documents, Key
from gateway.http.run_document import HistoryRange, Query

ANY_WORKFLOW = "-"
"""As a workflow's id: the one that the execution belongs to. A client that follows an execution
need not know it; access is decided by the execution's own id."""

_EPOCHS = range(10**20)

MAX_LIMIT = 10_000
"""The largest `limit`."""


@dataclass(frozen=True, slots=True)
class RunsHandler:
    """Serves run documents."""

    policy: Policy
    quota: Quota
    registry: Registry
    documents: Documents
    answers: PollAnswers
    cookie: TokenCookie | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One poll; HEAD gets the headers that GET would (RFC 9110, section 9.3.2)."""
        execution_id = request.match_info["execution_id"]
        workflow_id = request.match_info["workflow_id"]
        principal = await self.policy.identify(execution_id, read_credentials(request, self.cookie))
        self.quota.poll(principal)
        await self.policy.admit(principal)
        query, epoch = _query(request), _epoch(request)
        try:
            if epoch is not None:
                query = query._replace(run=await self.documents.run_of(execution_id, epoch))
            key = Key(principal.organization_id, execution_id, query)
            registered = await self.registry.workflow(execution_id)
            if workflow_id == ANY_WORKFLOW:
                workflow_id = registered or workflow_id
            elif registered not in (None, workflow_id):
                raise ExecutionNotFound
            return await self._answer(request, key, workflow_id)
        except ExecutionForgotten:
            self.documents.drop(execution_id)
            raise ExecutionNotFound from None
        except RedisUnavailable as error:
            raise Unavailable(
                f"The run cannot be read now: {error} Try again in a few seconds."
            ) from error

    async def _answer(self, request: web.Request, key: Key, workflow_id: str) -> web.StreamResponse:
        # Weak comparison, as If-None-Match demands (RFC 9110, section 13.1.2).
        tags = [tag.value for tag in request.if_none_match or ()]
        known = _known_range(tags, key.query)
        if known is not None and await self.documents.is_current(
            key.execution_id, known, key.query.run
        ):
            return web.Response(status=304, headers=_headers(known.tag(key.query)))
        async with self.documents.read(key) as document:
            tag = document.range.tag(key.query)
            if tag in tags or "*" in tags:
                return web.Response(status=304, headers=_headers(tag))
            chunks: list[Chunk] = [document.head(workflow_id), *document.chunks]
            response = web.StreamResponse(headers=_headers(tag))
            response.content_type = "application/json"
            response.content_length = sum(map(len, chunks))
            buffer = Charge(Payer(key.organization_id, is_reader=True))
            await self.documents.budget.take(buffer, BUFFER_BYTES)
            try:
                await self.answers.write(request, response, chunks)
            finally:
                self.documents.budget.release(buffer)
            return response


def _query(request: web.Request) -> Query:
    if request.query.get("include_logs", "").lower() not in ("true", "1"):
        return Query(with_logs=False)
    return Query(True, parse_id(request.query.get("after")), _limit(request))


def _limit(request: web.Request) -> int | None:
    refusal = MalformedRequest(
        f"The limit is malformed: send a number of events from 1 to {MAX_LIMIT}, or leave it out "
        "to get all events.",
        "malformed_limit",
    )
    return _number(request.query.get("limit"), range(1, MAX_LIMIT + 1), refusal)


def _epoch(request: web.Request) -> int | None:
    """Which run is asked for, by any epoch of it; None for the present one."""
    refusal = MalformedRequest(
        "The epoch is malformed: send the part of an event's id before the hyphen.",
        "malformed_epoch",
    )
    return _number(request.query.get("epoch"), _EPOCHS, refusal)


def _number(given: str | None, among: range, refusal: MalformedRequest) -> int | None:
    if given is None:
        return None
    # Not too long first: Python refuses to read a number of thousands of digits.
    is_number = given.isascii() and given.isdigit() and len(given) <= len(str(among[-1]))
    if is_number and int(given) in among:
        return int(given)
    raise refusal


def _known_range(tags: Collection[str], query: Query) -> HistoryRange | None:
    """What the client's document was folded from, if one of *tags* is ours."""
    for tag in tags:
        first, _, rest = tag.partition(".")
        known = HistoryRange(parse_id(first), parse_id(rest.partition(".")[0]))
        if known.tag(query) == tag:
            return known
    return None


def _headers(tag: str) -> dict[str, str]:
    return {"ETag": f'W/"{tag}"', "Cache-Control": "private, no-cache"}
