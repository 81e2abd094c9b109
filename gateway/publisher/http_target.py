"""The requests that publish by HTTP, and what the answers mean (CONTRACT.md). Pure."""

import hashlib
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeGuard
from urllib.parse import urlsplit

import orjson

from gateway.contract.registration import Registration, RegistrationRefused
from gateway.events.ids import parse_id
from gateway.publisher.composer import Outgoing
from gateway.publisher.retry import (
    AttemptFailed,
    EventRefused,
    EventTooLarge,
    RunForgotten,
    RunRestarted,
)
from gateway.settings.checks import check_url, is_loopback

Token = str | Callable[[], str | Awaitable[str]]
"""A token, or a function that returns one."""

MOST_EVENTS = 500
MOST_BYTES = 1024 * 1024
"""Of one call, as the gateway allows."""

_LONGEST_PAUSE = 60.0
"""Seconds, whatever Retry-After says."""

_MOST_KEY = 255
"""Characters of an Idempotency-Key, all ASCII."""

_TEMPORARY = frozenset([408, 425, 429, 500, 502, 503, 504])


def is_http_url(url: str) -> bool:
    """Whether *url* is of a gateway, and not of Redis."""
    return url.lower().startswith(("http://", "https://"))


def _sendable(key: str) -> str:
    """*key* as a header may have it: the same for the same key."""
    is_sendable = key.isascii() and len(key) <= _MOST_KEY
    return key if is_sendable else hashlib.sha256(key.encode()).hexdigest()


def is_token(token: object) -> TypeGuard[str]:
    """Whether a header may have it: a line end, say of a file, would end the header."""
    return isinstance(token, str) and re.fullmatch(r"[!-~]+", token) is not None


class Request(NamedTuple):
    """What to send, all but the token."""

    method: str
    url: str
    body: bytes
    headers: Mapping[str, str]


class Answer(NamedTuple):
    """What a gateway, or a proxy before it, has answered."""

    status: int
    retry_after: str | None
    body: bytes

    def document(self) -> dict[str, Any]:
        """Its JSON object; an empty one if it is none."""
        try:
            document = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return {}
        return document if isinstance(document, dict) else {}

    def failure(self, *, can_renew: bool) -> AttemptFailed:
        """The error of the attempt. *can_renew*: there may be another token for the next one."""
        document = self.document()
        code = document.get("error") or f"HTTP {self.status}"
        message = document.get("message") or "The address is not that of a gateway: check the URL."
        if self.status in _TEMPORARY:
            message = document.get("message") or "The gateway cannot be reached through its proxy."
        elif code == "not_found":
            message = "Nothing is published there: check the URL, and set GATEWAY_PUBLISH=on."
        given = self.retry_after or ""
        return AttemptFailed(
            f"The gateway refuses it ({code}): {message}",
            is_temporary=self.status in _TEMPORARY or (self.status == 401 and can_renew),
            detail=f"HTTP {self.status}",
            retry_after=min(float(given), _LONGEST_PAUSE) if given.isdecimal() else 0.0,
        )


@dataclass(frozen=True, slots=True)
class HttpTarget:
    """A gateway to publish to."""

    url: str
    token: Token | None
    organization_id: str | None
    allow_http: bool
    min_replicas: int

    def mistakes(self) -> Iterator[str]:
        """A sentence for each."""
        try:
            check_url(self.url)
            parts = urlsplit(self.url)
        except ValueError as error:
            yield f"url: {error}."
            return
        if parts.username is not None or parts.query or parts.fragment:
            yield "url: leave out user, query and fragment: give the address alone."
        is_plain = parts.scheme.lower() == "http" and not is_loopback(parts.hostname or "")
        if is_plain and not self.allow_http:
            yield (
                f"url: the token would be sent to {parts.hostname} without TLS: use https://, or "
                "say allow_http=True."
            )
        if not (callable(self.token) or is_token(self.token)):
            yield "token: give one that carries the right to publish, without `Bearer`."
        if self.organization_id is not None and not self.organization_id.isprintable():
            yield "organization_id: give a text of printable characters."
        if self.min_replicas:
            yield "min_replicas: give it together with the URL of Redis."

    def most(self, waiting: Iterable[Outgoing]) -> int:
        """How many of what waits are sent in one call."""
        execution_id, size, count = "", 0, 0
        for event in waiting:
            size += len(event.payload) + 1
            is_alone = event.has_given_key or event.restarts
            is_other = event.execution_id != (execution_id or event.execution_id)
            if is_alone or is_other or size > MOST_BYTES or count == MOST_EVENTS:
                break
            execution_id, count = event.execution_id, count + 1
        # The first one is sent in any case, alone.
        return max(1, count)

    def publishing(self, events: Sequence[Outgoing], began: int | None) -> Request:
        """The request that publishes *events*; repeated, it does not double them."""
        first = events[0]
        path = "restart" if first.restarts else "events"
        if first.keeps:
            path += "?keep=true"
        headers = {
            "Content-Type": "application/json" if len(events) == 1 else "application/x-ndjson",
            "Idempotency-Key": _sendable(first.idempotency_key),
        }
        if began is not None:
            headers["If-Run"] = str(began)
        body = b"\n".join(event.payload for event in events)
        return self._request("POST", f"{first.execution_id}/{path}", body, headers)

    def registering(self, registration: Registration) -> Request:
        """The request that registers an execution."""
        document = {}
        if registration.workflow_id is not None:
            document["workflow_id"] = registration.workflow_id
        headers = {
            "Content-Type": "application/json",
            "X-Organization-ID": registration.organization_id,
        }
        return self._request("PUT", registration.execution_id, orjson.dumps(document), headers)

    def _request(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Request:
        url = f"{self.url.rstrip('/')}/api/v1/sse/executions/{path}"
        organization = {"X-Organization-ID": self.organization_id} if self.organization_id else {}
        return Request(method, url, body, {**organization, **headers})

    def ids(self, events: Sequence[Outgoing], answer: Answer) -> list[str]:
        """The ids that *events* have got.

        Raises:
            EventRefused, RunForgotten, RunRestarted: it would be so at the next attempt too.
            AttemptFailed: for any other answer.
        """
        document, first = answer.document(), events[0]
        ids, code = document.get("ids"), document.get("error")
        # With a key that the caller has chosen, the event of the first call counts, also if this
        # one has another time.
        is_first = first.has_given_key and code == "idempotency_key_reused"
        if (answer.status in (200, 201) or is_first) and _are_ids(ids, len(events)):
            return ids
        match answer.status, code:
            case 400, "malformed_event":
                raise EventRefused(str(document.get("message")))
            case 413, _:
                raise EventTooLarge(document.get("message") or "The gateway refuses its size.")
            case _, "run_restarted":
                raise RunRestarted.of(first.execution_id, first.idempotency_key)
            case _, "execution_forgotten":
                raise RunForgotten.of(first.execution_id, first.idempotency_key)
        raise answer.failure(can_renew=callable(self.token))

    def check_registered(self, answer: Answer) -> None:
        """Raises RegistrationRefused or AttemptFailed unless *answer* is that it is registered."""
        document = answer.document()
        if answer.status in (200, 201) and "execution_id" in document:
            return
        code = document.get("error")
        if answer.status == 409 or code in ("execution_forbidden", "malformed_workflow_id"):
            raise RegistrationRefused(str(document.get("message")))
        raise answer.failure(can_renew=callable(self.token))


def _are_ids(ids: object, count: int) -> TypeGuard[list[str]]:
    return isinstance(ids, list) and len(ids) == count and all(map(parse_id, ids))
