"""Turns the bytes of a Redis message into an event, or refuses them with a sentence.

The producer's JSON is never re-encoded: that would turn 1.10 into 1.1 and break big integers. It
is parsed only for `type` and `id`; its bytes go to the browser as they came, without the raw CR and
LF that JSON allows between tokens and SSE does not.
"""

import re
from typing import Any, NamedTuple

import orjson

from gateway.errors import MessageRefused
from gateway.events.fields import moment_of
from gateway.events.ids import EventId, parse_id
from gateway.events.json_edit import without_member

EXECUTION_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
"""The form of an execution id (`fullmatch`), in a URL and in a channel name alike."""


def execution_id_problem(value: object) -> str | None:
    """Why *value* is no execution id, as a sentence; None if it is one."""
    if isinstance(value, str) and EXECUTION_ID.fullmatch(value):
        return None
    return f"{value!r:.200} is not an execution id: use 1 to 128 of A-Z a-z 0-9 _ . : -"


MAX_TYPE_LENGTH = 128

# The gateway's own events; a producer's event must not look like one.
_RESERVED_TYPES = frozenset({"connected", "heartbeat"})
_RESERVED_PREFIX = "stream:"

# JSON may escape half a surrogate pair; browsers accept that, orjson does not.
_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


# Named tuples: a frozen dataclass takes three times as long to create.
class Envelope(NamedTuple):
    """A message as it was published."""

    type: str
    id: EventId | None
    """None for a bare message, which was not recorded before it was published."""
    body: bytes
    """Its JSON on one line, with a member `id` only where `id` is set."""
    moment: str = ""
    """When it happened, of a bare message that tells; see `gateway.events.fields.moment_of`."""
    untimed: bytes | None = None
    """Of a bare message without timestamp, the body that gets the time of recording as one."""


class Event(NamedTuple):
    """One event of an execution, ready for the wire."""

    type: str
    id: EventId | None
    """None only where recording is off or was refused: such an event is only delivered live."""
    frame: bytes
    """The whole SSE frame, blank line included."""

    @property
    def json(self) -> bytes:
        """The event as its readers parse it."""
        return self.frame.partition(b"\ndata: ")[2]


def decode(payload: bytes) -> Envelope:
    """Read a producer's message.

    An `id` that is not of our form is removed, and the message is a bare one (DELIVERY.md, rule 2):
    it would break the stream.

    Raises:
        MessageRefused: it is not a JSON object with a usable `type`.
    """
    document = _parse(payload)
    event_type = _usable_type(document.get("type"))
    body = one_line(payload)
    event_id = None
    if "id" in document and (event_id := parse_id(document["id"])) is None:
        body = without_member(body, "id")
    if event_id is not None:
        return Envelope(event_type, event_id, body)
    untimed = None
    if document.get("timestamp") is None:
        untimed = without_member(body, "timestamp") if "timestamp" in document else body
    return Envelope(event_type, None, body, moment_of(document, ends=False), untimed)


def one_line(payload: bytes) -> bytes:
    """*payload* without white space around it and line ends between its tokens."""
    body = payload.strip()
    if b"\n" in body or b"\r" in body:
        body = body.replace(b"\n", b"").replace(b"\r", b"")
    return body


def with_id(body: bytes, event_id: EventId) -> bytes:
    """*body*, a JSON object without `id`, with *event_id* first."""
    return b'{"id":"%d-%d",%b' % (*event_id, body[1:])


def with_timestamp(body: bytes, timestamp: bytes) -> bytes:
    """*body*, a JSON object without `timestamp`, with this one first."""
    return b'{"timestamp":"%b",%b' % (timestamp, body[1:])


def live(envelope: Envelope) -> Event:
    """The event of a message as it came, with its id or without."""
    event_id = envelope.id
    line = b"" if event_id is None else b"id: %d-%d\n" % event_id
    return _event(envelope.type, event_id, line, envelope.body)


def recorded(event_type: str, body: bytes, event_id: EventId) -> Event:
    """The event of a *body* without `id` that history has under *event_id*."""
    return _event(event_type, event_id, b"id: %d-%d\n" % event_id, with_id(body, event_id))


def _event(event_type: str, event_id: EventId | None, line: bytes, body: bytes) -> Event:
    frame = b"%bevent: %b\ndata: %b\n\n" % (line, event_type.encode(), body)
    return Event(event_type, event_id, frame)


def _parse(payload: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        if not _ESCAPED_SURROGATE.search(payload):
            raise MessageRefused(f"it is not JSON ({error})") from None
        document = _parse_with_surrogates(payload)
    if not isinstance(document, dict):
        raise MessageRefused("it is not a JSON object")
    return document


def _parse_with_surrogates(payload: bytes) -> Any:
    # Only this copy loses the escapes. `_usable_type` refuses a type that had one. Not
    # `json_edit.parse`, which is much slower for a payload made of escapes.
    try:
        return orjson.loads(_ESCAPED_SURROGATE.sub(rb"\\u0000", payload))
    except orjson.JSONDecodeError as error:
        raise MessageRefused(f"it is not JSON ({error})") from None


def _usable_type(value: object) -> str:
    """*value*, if it may be in an `event:` line.

    Only printable text may: CR and LF end the line (WHATWG HTML, section 9.2.6), and some client
    libraries also split at U+2028 and the like, or strip the name: ` stream:closing` would look
    like the gateway's own event.
    """
    if not isinstance(value, str) or not value:
        raise MessageRefused("its type is missing or not a text")
    if len(value) > MAX_TYPE_LENGTH:
        raise MessageRefused(f"its type is longer than {MAX_TYPE_LENGTH} characters")
    if not value.isprintable():
        raise MessageRefused("its type has a character that is not printable")
    if value != value.strip():
        raise MessageRefused("its type begins or ends with white space")
    if value in _RESERVED_TYPES or value.startswith(_RESERVED_PREFIX):
        raise MessageRefused("its type is one of the gateway's own")
    return value
