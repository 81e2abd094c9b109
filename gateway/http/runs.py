"""`GET /api/v1/workflows/{workflow_id}/runs/{execution_id}`: a run as one JSON document.

For whoever cannot hold a stream open. It is folded anew at each poll from the history that the
streams are served from, so that either goes on where the other stopped. What a run looks like is
decided by `gateway.events.run`.

The validator is the ids of the first and the last event that are kept. It is weak: gateways of two
versions may word the same history differently (RFC 9110, section 8.8.1). A poll that brings it is
answered by asking whether anything follows, without reading the history again. Credentials come
first: a 304 tells as much as a 200.
"""

import asyncio
from collections.abc import Collection
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import NamedTuple

import orjson
from aiohttp import web

from gateway.access.policy import Policy
from gateway.bus.history import Entry, History, Page, envelope_of
from gateway.bus.registry import Registry
from gateway.errors import ExecutionNotFound, RedisUnavailable, Unavailable
from gateway.events.cursor import Id, parse_id
from gateway.events.envelope import with_id
from gateway.events.parse import parse
from gateway.events.run import RunFold
from gateway.http.credentials import read_credentials
from gateway.http.errors import json_response
from gateway.metrics import Metrics

ANY_WORKFLOW = "-"
"""In the place of a workflow's id: whichever the execution belongs to. Who follows an execution
need not know; the execution's own id is what access goes by."""

_AT_ONCE = 4
"""Histories that are read with their logs at a time: the largest takes some 100 MiB of memory."""


class Asked(NamedTuple):
    """What a poll asks for."""

    with_logs: bool
    after: Id | None
    """Only events that follow this one; None for all, also where the reader sent nonsense."""


class State(NamedTuple):
    """Which part of a history a document was folded from."""

    first: Id | None
    last: Id | None

    def tag(self, asked: Asked) -> str:
        """The opaque part of the entity tag."""
        logs = "logs" if asked.with_logs else ""
        return f"{self.first or ''}.{self.last or ''}.{logs}.{asked.after or ''}"


class Reading:
    """What has been read of a history so far, page by page."""

    def __init__(self, execution_id: str, asked: Asked, metrics: Metrics) -> None:
        self._execution_id = execution_id
        self._asked = asked
        self._metrics = metrics
        self._begin(None)

    def _begin(self, first: Id | None) -> None:
        # No types: which event ended the execution stands in its history, as for the streams.
        self.run = RunFold(keep_logs=self._asked.with_logs, terminal_types=(), pack=_encoded)
        self.cursor: Id | None = None
        self._first = first
        self._has_end = False
        self._events: dict[Id, orjson.Fragment] = {}

    def add(self, page: Page) -> bool:
        """Take in a page; True if another one follows."""
        if self.cursor is None or page.verdict == "reset":
            # The latter: another life of the history has begun between two pages.
            self._begin(page.first)
        for entry in page.entries:
            self._add(entry, ends=entry.id == page.terminal)
            self.cursor = entry.id
        if page.more and not self._has_end:
            return True
        if page.terminal is None or self._has_end:
            return False
        # It was folded just now, or history no longer holds it.
        self.run.end(page.terminal_type, str(page.terminal))
        self.cursor = self.cursor or page.terminal
        # A page ends with the terminal event: one more has what came late.
        self._has_end = page.terminal_kept
        return self._has_end

    def _add(self, entry: Entry, *, ends: bool) -> None:
        envelope = envelope_of(self._execution_id, entry, self._metrics)
        if envelope is None:
            # No stream shows it either.
            return
        body = envelope.body
        self.run.add({**parse(body), "id": str(entry.id)}, ends=ends)
        if self._asked.with_logs:
            # The producer's bytes: encoding again would alter numbers.
            self._events[entry.id] = orjson.Fragment(with_id(body, entry.id))

    @property
    def state(self) -> State:
        return State(self._first, self.cursor)

    def document(self, workflow_id: str) -> object:
        """The run document, ready to be encoded."""
        document = self.run.document(self._execution_id, workflow_id)
        if self._asked.with_logs:
            document["events"] = _following(self._events, self._asked.after)
        return document


@dataclass(frozen=True, slots=True)
class RunsHandler:
    """Serves run documents."""

    policy: Policy
    registry: Registry
    history: History
    metrics: Metrics
    _turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One poll; HEAD gets the headers that GET would (RFC 9110, section 9.3.2)."""
        execution_id = request.match_info["execution_id"]
        workflow_id = request.match_info["workflow_id"]
        viewer = await self.policy.identify(execution_id, read_credentials(request))
        await self.policy.admit(viewer)
        try:
            registered = await self.registry.workflow(execution_id)
            if workflow_id == ANY_WORKFLOW:
                workflow_id = registered or workflow_id
            elif registered not in (None, workflow_id):
                raise ExecutionNotFound
            return await self._answer(request, execution_id, workflow_id)
        except RedisUnavailable as error:
            raise Unavailable(
                f"The run cannot be read now: {error} Try again in a few seconds."
            ) from error

    async def _answer(
        self, request: web.Request, execution_id: str, workflow_id: str
    ) -> web.Response:
        asked = _asked(request)
        # Weak comparison, as If-None-Match demands (RFC 9110, section 13.1.2).
        tags = [tag.value for tag in request.if_none_match or ()]
        known = _known_state(tags, asked)
        if known is not None and await self._is_current(execution_id, known):
            return _not_modified(known.tag(asked))
        async with self._turns if asked.with_logs else nullcontext():
            reading = await self._read(execution_id, asked)
            tag = reading.state.tag(asked)
            if tag in tags or "*" in tags:
                return _not_modified(tag)
            return json_response(reading.document(workflow_id), 200, _headers(tag))

    async def _is_current(self, execution_id: str, known: State) -> bool:
        """Whether a document of this state would be the same now."""
        page = await self.history.page(execution_id, known.last)
        # Where nothing is kept, the end is all that is still known.
        last = known.last if page.verdict == "honoured" else page.terminal
        return not page.entries and State(page.first, last) == known

    async def _read(self, execution_id: str, asked: Asked) -> Reading:
        reading = Reading(execution_id, asked, self.metrics)
        while reading.add(await self.history.page(execution_id, reading.cursor)):
            pass
        return reading


def _asked(request: web.Request) -> Asked:
    with_logs = request.query.get("include_logs", "").lower() in ("true", "1")
    return Asked(with_logs, parse_id(request.query.get("after")) if with_logs else None)


def _known_state(tags: Collection[str], asked: Asked) -> State | None:
    """The state that the reader's document was folded from, if a tag of ours tells it."""
    for tag in tags:
        first, _, rest = tag.partition(".")
        state = State(parse_id(first), parse_id(rest.partition(".")[0]))
        if state.tag(asked) == tag:
            return state
    return None


def _following(events: dict[Id, orjson.Fragment], after: Id | None) -> list[orjson.Fragment]:
    """Those after *after*; all if it is not among them, as a stream would go back to the start."""
    begin = list(events).index(after) + 1 if after in events else 0
    return list(events.values())[begin:]


def _not_modified(tag: str) -> web.Response:
    return web.Response(status=304, headers=_headers(tag))


def _headers(tag: str) -> dict[str, str]:
    return {"ETag": f'W/"{tag}"', "Cache-Control": "private, no-cache"}


def _encoded(output: object) -> orjson.Fragment | None:
    """A step's output as JSON. What is nested too deep to be encoded shows in its event alone."""
    try:
        return orjson.Fragment(orjson.dumps(output))
    except orjson.JSONEncodeError:
        return None
