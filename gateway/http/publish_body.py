"""Reads the body of a call that publishes: bounded while it arrives, then checked as a whole."""

import asyncio
import json  # noqa: TID251 # only it tells where each element of an array ends
from dataclasses import dataclass, field
from datetime import UTC, datetime

from aiohttp import web

from gateway.contract.meta import kind_of
from gateway.contract.scripts import NewEvent
from gateway.errors import (
    BodyTooLarge,
    LengthRequired,
    LimitReached,
    MalformedRequest,
    MessageRefused,
    RequestTimedOut,
    TooManyEvents,
    Unavailable,
    UnsupportedType,
)
from gateway.events.ending import with_status
from gateway.events.envelope import EventRules, strict, untimed, with_timestamp
from gateway.events.fields import stamp
from gateway.http.request_limits import BODY_IS_READ
from gateway.http.screen import MAX_PUBLISH_BYTES

MAX_EVENTS = 500
"""Of a call: its script stops everything else in Redis, for some 10 ms."""
MAX_KEY = 255
"""Characters of an idempotency key."""
HELD_BYTES = 64 * 1024 * 1024
"""Of all bodies together; one organization's may take a quarter."""

JSON = "application/json"
NDJSON = "application/x-ndjson"

_SHARES = 4
_SPACE = " \t\r\n"
# Numbers are only skipped: Python would build integers of thousands of digits.
_SCANNER = json.JSONDecoder(parse_int=str, parse_float=str)


@dataclass(slots=True)
class Bodies:
    """The bodies under way; *timeout*: seconds for one to arrive."""

    timeout: float
    _held: int = 0
    _held_by: dict[str, int] = field(default_factory=dict)

    def hold(self, organization_id: str, size: int) -> None:
        """Count *size* bytes of an organization, until they are let go.

        Raises:
            LimitReached, Unavailable: its bodies, or all together, take too much memory.
        """
        if self._held_by.get(organization_id, 0) + size > HELD_BYTES // _SHARES:
            raise LimitReached(
                "Too many bodies of your organization are under way: wait for answers before you "
                "send more.",
                "publish_limit",
            )
        if self._held + size > HELD_BYTES:
            raise Unavailable(
                "Too many bodies are under way, nothing was published: try again.", "publish_busy"
            )
        self._held += size
        self._held_by[organization_id] = self._held_by.get(organization_id, 0) + size

    def let_go(self, organization_id: str, size: int) -> None:
        """What `hold` has counted is counted no more."""
        self._held -= size
        self._held_by[organization_id] -= size
        if not self._held_by[organization_id]:
            del self._held_by[organization_id]

    async def read(self, request: web.Request) -> bytes:
        """The whole body, whose length `checked_length` has allowed.

        Raises:
            RequestTimedOut: it did not arrive in time.
        """
        if not request.body_exists:
            return b""
        if request.content.is_eof():
            # The usual case of a small one: it came with the head.
            body = request.content.read_nowait()
        else:
            try:
                async with asyncio.timeout(self.timeout):
                    body = await request.content.read()
            except TimeoutError:
                raise RequestTimedOut from None
        request[BODY_IS_READ] = True
        return body


def checked_length(request: web.Request) -> int:
    """Bytes of the body of *request*.

    Raises:
        LengthRequired: it has one of unknown length.
        BodyTooLarge: it is larger than any call may be.
    """
    if not request.body_exists:
        return 0
    if (length := request.content_length) is None:
        raise LengthRequired
    if length > MAX_PUBLISH_BYTES:
        raise BodyTooLarge(MAX_PUBLISH_BYTES)
    return length


def checked_type(request: web.Request, *allowed: str) -> str:
    """The type of the body.

    Raises:
        UnsupportedType: it is not *allowed*, or the body is compressed.
    """
    # As most producers write it, aiohttp need not parse it.
    given = request.headers.get("Content-Type", "")
    content_type = given if given in allowed else request.content_type
    if content_type not in allowed or "Content-Encoding" in request.headers:
        raise UnsupportedType(
            f"The body must be {' or '.join(allowed)}, not compressed: say so in Content-Type."
        )
    return content_type


def idempotency_key(request: web.Request) -> str | None:
    """The key of a call, if it has one.

    Raises:
        MalformedRequest: it is none.
    """
    given = request.headers.getall("Idempotency-Key", ())
    if not given:
        return None
    key = given[0]
    if len(given) > 1 or not (1 <= len(key) <= MAX_KEY and key.isascii() and key.isprintable()):
        raise MalformedRequest(
            f"The Idempotency-Key is malformed: send one, of 1 to {MAX_KEY} printable ASCII "
            "characters.",
            "malformed_idempotency_key",
        )
    return key


def read_events(body: bytes, content_type: str, rules: EventRules) -> list[NewEvent]:
    """All events of a call.

    Raises:
        MalformedRequest: one is none, with its index; nothing of the call may be published.
        TooManyEvents: there are more than `MAX_EVENTS`.
    """
    texts = _lines(body) if content_type == NDJSON else _elements(body)
    if not texts:
        raise MalformedRequest("The body has no event: send one or more.", "malformed_event")
    if len(texts) > MAX_EVENTS:
        raise TooManyEvents(f"The call has more than {MAX_EVENTS} events: send several calls.")
    events = []
    for index, text in enumerate(texts):
        try:
            events.append(_event(text, rules))
        except MessageRefused as refused:
            raise malformed(str(refused), index) from None
    return events


def malformed(reason: str, index: int) -> MalformedRequest:
    """The refusal of a call for the event at *index*."""
    refusal = MalformedRequest(
        f"Event {index} is refused, so nothing was published: {reason}.", "malformed_event"
    )
    refusal.index = index
    return refusal


def _event(text: bytes, rules: EventRules) -> NewEvent:
    event_type, _, body, _, times = strict(text, rules.max_bytes)
    assert times is not None  # noqa: S101 - for the type checker: `strict` parses it
    now = None
    if times.timestamp is None and (without_time := untimed(body)) is not None:
        now = stamp(datetime.now(UTC))
        body = with_timestamp(without_time, now.encode())
    terminal_type = with_status(event_type, body, rules.terminal_types)
    moment = times.moment(ends=terminal_type != "", now=now)
    return NewEvent(body, terminal_type, kind_of(event_type), moment)


def _lines(body: bytes) -> list[bytes]:
    # No more than are needed to see that there are too many; every second one may be empty.
    lines = body.split(b"\n", 2 * MAX_EVENTS)
    if len(lines) > 2 * MAX_EVENTS:
        return lines
    return [line for line in lines if line.strip()]


def _elements(body: bytes) -> list[bytes]:
    """The elements of an array, each as it was written; anything else is one event."""
    if not body.lstrip().startswith(b"["):
        return [body] if body.strip() else []
    found: list[bytes] = []
    try:
        _scan_array(body.decode().strip(_SPACE), found)
    except (ValueError, IndexError, RecursionError):
        raise malformed("the array is not JSON there", len(found)) from None
    return found


def _scan_array(text: str, found: list[bytes]) -> None:
    """Add each element of the array *text* to *found*; raises at what is not JSON. Ends where there
    are too many."""
    place = _skip_space(text, 1)
    while text[place] != "]":
        if len(found) > MAX_EVENTS:
            return
        if found:
            if text[place] != ",":
                raise ValueError("no comma")
            place = _skip_space(text, place + 1)
        _, end = _SCANNER.raw_decode(text, place)
        found.append(text[place:end].encode())
        place = _skip_space(text, end)
    if place != len(text) - 1:
        raise ValueError("more follows")


def _skip_space(text: str, place: int) -> int:
    while text[place] in _SPACE:
        place += 1
    return place
