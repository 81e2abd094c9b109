"""Publishing by HTTP: `POST …/events` and `…/restart`, and `PUT` to register an execution.

These take a token in the `Authorization` header alone: nothing that a browser sends by itself may
publish. Each call is published as a whole or not at all.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import orjson
from aiohttp import web

from gateway.access.publishing import PublishLimits, PublishPolicy
from gateway.bus.publishing import PublishCall, Publishing
from gateway.contract.registration import RegistrationRefused
from gateway.contract.scripts import NewEvent
from gateway.errors import MalformedRequest, PublishForbidden, Unauthenticated
from gateway.events.envelope import EventRules
from gateway.http.credentials import read_credentials
from gateway.http.heads import Answers
from gateway.http.publish_body import (
    JSON,
    NDJSON,
    Bodies,
    checked_length,
    checked_type,
    idempotency_key,
    malformed,
    read_events,
)
from gateway.http.responses import json_response
from gateway.principal import Principal

_IN_QUERY = ("Authorization", "organization_id", "ticket")


@dataclass(frozen=True, slots=True)
class PublishHandler:
    """Serves producers."""

    policy: PublishPolicy
    limits: PublishLimits
    publishing: Publishing
    rules: EventRules
    bodies: Bodies
    _answers: Answers = field(default_factory=Answers, init=False)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """One call of one or more events."""
        return await self._with_body(request, self._publish)

    async def restart(self, request: web.Request) -> web.StreamResponse:
        """One event that begins a new run; without a body `execution:restarted`."""
        return await self._with_body(request, self._restart)

    async def register(self, request: web.Request) -> web.StreamResponse:
        """Register the execution."""
        return await self._with_body(request, self._register)

    async def _with_body(
        self,
        request: web.Request,
        serve: Callable[[web.Request, Principal, bytes], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        """Check who asks before any of the body is read."""
        token, organization_id = _header_credentials(request)
        execution_id = request.match_info["execution_id"]
        principal = await self.policy.identify(token, organization_id, execution_id)
        size = checked_length(request)
        self.limits.take_bytes(principal, size)
        self.bodies.hold(principal.organization_id, size)
        try:
            return await serve(request, principal, await self.bodies.read(request))
        finally:
            self.bodies.let_go(principal.organization_id, size)

    async def _publish(
        self, request: web.Request, principal: Principal, body: bytes
    ) -> web.StreamResponse:
        events = read_events(body, checked_type(request, JSON, NDJSON), self.rules)
        return await self._answer(request, principal, body, events)

    async def _restart(
        self, request: web.Request, principal: Principal, body: bytes
    ) -> web.StreamResponse:
        if body:
            checked_type(request, JSON)
        events = read_events(body or b'{"type":"execution:restarted","data":{}}', JSON, self.rules)
        if len(events) > 1:
            raise malformed("a restart has one event", 1)
        return await self._answer(request, principal, body, events, restarts=True)

    async def _answer(
        self,
        request: web.Request,
        principal: Principal,
        body: bytes,
        events: list[NewEvent],
        *,
        restarts: bool = False,
    ) -> web.StreamResponse:
        call = PublishCall(
            principal.execution_id,
            principal.organization_id,
            events,
            body,
            idempotency_key(request),
            _began(request),
            restarts,
            restarts and _keeps(request),
        )
        await self._admit(principal, len(events))
        published = await self.publishing.publish(call)
        status = 200 if published.is_repeated else 201
        return await self._answers.answer(request, {"ids": published.ids}, status)

    async def _register(
        self, request: web.Request, principal: Principal, body: bytes
    ) -> web.StreamResponse:
        workflow_id = None
        if body:
            checked_type(request, JSON)
            workflow_id = _workflow(body)
        await self._admit(principal, 1)
        organization_id = principal.organization_id
        try:
            is_new, workflow_id = await self.publishing.register(
                principal.execution_id, organization_id, workflow_id
            )
        except RegistrationRefused as refused:
            raise MalformedRequest(str(refused), "malformed_workflow_id") from None
        document = {
            "execution_id": principal.execution_id,
            "organization_id": organization_id,
            "workflow_id": workflow_id,
        }
        return json_response(document, 201 if is_new else 200)

    async def _admit(self, principal: Principal, events: int) -> None:
        self.limits.take_events(principal, events)
        if not self.policy.may_publish(principal):
            # Redis is asked all the same: it takes the time that another organization's does.
            await self.publishing.look(principal.execution_id)
            raise PublishForbidden


def _header_credentials(request: web.Request) -> tuple[str, str | None]:
    """The token and the organization of the headers.

    Raises:
        MalformedRequest: one is given twice.
        Unauthenticated: there is no token, or something of it is elsewhere.
    """
    has_query = request.rel_url.raw_query_string != ""
    is_elsewhere = has_query and any(name in request.query for name in _IN_QUERY)
    credentials = read_credentials(request) if not is_elsewhere else None
    if credentials is None or not credentials.token:
        raise Unauthenticated(
            "Publishing takes the token in the header `Authorization: Bearer <token>`, and the "
            "organization in X-Organization-ID: send nothing of it in the query, a cookie or a "
            "ticket.",
            "header_required",
        )
    return credentials.token, credentials.organization_id


def _keeps(request: web.Request) -> bool:
    """Whether the former run is kept for as long as an ended one."""
    given = request.query.get("keep", "false").lower()
    if given not in ("true", "1", "false", "0"):
        raise MalformedRequest("`keep` is malformed: send true or false.")
    return given in ("true", "1")


def _began(request: web.Request) -> int | None:
    """The run that the producer means, by an epoch of it."""
    given = request.headers.get("If-Run")
    if given is None:
        return None
    if not (given.isascii() and given.isdigit() and len(given) <= 15):
        raise MalformedRequest(
            "If-Run is malformed: send the part of an event's id before the hyphen.",
            "malformed_epoch",
        )
    return int(given)


def _workflow(body: bytes) -> str | None:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    workflow_id = document.get("workflow_id") if isinstance(document, dict) else body
    if not isinstance(workflow_id, str | None):
        raise MalformedRequest(
            'The body is no registration: send {"workflow_id": "…"}, or none.', "malformed_request"
        )
    return workflow_id
