"""`GET /api/v1/workflows/{workflow_id}/runs/{execution_id}`: a run as one JSON document.

For those who cannot hold a stream open. It is folded from the history that the streams are served
from, so that either goes on where the other stopped (`gateway.http.run_reading`), held within
bounds (`gateway.http.run_documents`) and written within others (`gateway.http.run_answer`).

The validator is the ids of the first and the last event that are kept. It is weak: gateways of two
versions may word the same history differently (RFC 9110, section 8.8.1). A poll that brings it is
answered by asking whether anything follows, without reading the history again. Credentials come
first: a 304 tells as much as a 200.
"""

from collections.abc import Collection
from dataclasses import dataclass

from aiohttp import web

from gateway.access.policy import Policy
from gateway.access.quota import Quota
from gateway.bus.registry import Registry
from gateway.errors import ExecutionNotFound, MalformedRequest, RedisUnavailable, Unavailable
from gateway.events.ids import parse_id
from gateway.http.credentials import read_credentials
from gateway.http.run_answer import Answers
from gateway.http.run_documents import Documents, Key
from gateway.http.run_reading import Asked, Reading, State

__all__ = ["Asked", "Reading", "RunsHandler"]

ANY_WORKFLOW = "-"
"""In the place of a workflow's id: whichever the execution belongs to. Who follows an execution
need not know; the execution's own id is what access goes by."""

MOST_EVENTS = 10_000
"""The largest `limit`."""


@dataclass(frozen=True, slots=True)
class RunsHandler:
    """Serves run documents."""

    policy: Policy
    quota: Quota
    registry: Registry
    documents: Documents
    answers: Answers

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One poll; HEAD gets the headers that GET would (RFC 9110, section 9.3.2)."""
        execution_id = request.match_info["execution_id"]
        workflow_id = request.match_info["workflow_id"]
        principal = await self.policy.identify(execution_id, read_credentials(request))
        self.quota.poll(principal)
        await self.policy.admit(principal)
        key = Key(principal.organization_id, execution_id, _asked(request))
        try:
            registered = await self.registry.workflow(execution_id)
            if workflow_id == ANY_WORKFLOW:
                workflow_id = registered or workflow_id
            elif registered not in (None, workflow_id):
                raise ExecutionNotFound
            return await self._answer(request, key, workflow_id)
        except RedisUnavailable as error:
            raise Unavailable(
                f"The run cannot be read now: {error} Try again in a few seconds."
            ) from error

    async def _answer(self, request: web.Request, key: Key, workflow_id: str) -> web.StreamResponse:
        # Weak comparison, as If-None-Match demands (RFC 9110, section 13.1.2).
        tags = [tag.value for tag in request.if_none_match or ()]
        known = _known_state(tags, key.asked)
        if known is not None and await self.documents.is_current(key.execution_id, known):
            return _not_modified(known.tag(key.asked))
        async with self.documents.read(key) as reader:
            tag = reader.document.state.tag(key.asked)
            if tag in tags or "*" in tags:
                return _not_modified(tag)
            return await self.answers.write(
                request, key.organization_id, reader, workflow_id, _headers(tag)
            )


def _asked(request: web.Request) -> Asked:
    with_logs = request.query.get("include_logs", "").lower() in ("true", "1")
    if not with_logs:
        return Asked(with_logs, None)
    return Asked(with_logs, parse_id(request.query.get("after")), _limit(request))


def _limit(request: web.Request) -> int | None:
    given = request.query.get("limit")
    if given is None:
        return None
    if given.isascii() and given.isdigit() and len(given) <= len(str(MOST_EVENTS)):
        limit = int(given)
        if 1 <= limit <= MOST_EVENTS:
            return limit
    raise MalformedRequest(
        f"The limit is malformed: give a number of events from 1 to {MOST_EVENTS}, or leave it out "
        "for all.",
        "malformed_limit",
    )


def _known_state(tags: Collection[str], asked: Asked) -> State | None:
    """The state that the reader's document was folded from, if a tag of ours tells it."""
    for tag in tags:
        first, _, rest = tag.partition(".")
        state = State(parse_id(first), parse_id(rest.partition(".")[0]))
        if state.tag(asked) == tag:
            return state
    return None


def _not_modified(tag: str) -> web.Response:
    return web.Response(status=304, headers=_headers(tag))


def _headers(tag: str) -> dict[str, str]:
    return {"ETag": f'W/"{tag}"', "Cache-Control": "private, no-cache"}
