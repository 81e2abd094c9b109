"""Turns the bytes of a Redis message into an event, or refuses them with a sentence.

The producer's JSON is never re-encoded: that would turn 1.10 into 1.1 and break big integers. It
is parsed only for `type` and `id`; its bytes go to the browser as they came, without the raw CR and
LF that JSON allows between tokens and SSE does not. What cannot be passed on so is edited token by
token (`gateway.events.repair`).
"""

import hashlib
import re
from collections.abc import Mapping
from itertools import islice
from typing import Literal, NamedTuple

import orjson

from gateway.errors import MessageRefused
from gateway.events.ending import STANDARD, TerminalTypes
from gateway.events.fields import Times, times_of
from gateway.events.ids import EventId, parse_id
from gateway.events.json_edit import Member, is_named, members, parse_object, without_member
from gateway.events.repair import repair

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

_LONGEST_SOURCE_ID = 256
"""Bytes of a producer's id that are kept."""

# As `publish.lua` writes it.
_SCRIPTS_ID = re.compile(rb'\{"id":"([0-9]+-[0-9]+)",')


# Named tuples: a frozen dataclass takes three times as long to create.
class EventRules(NamedTuple):
    """What is taken for an event."""

    terminal_types: TerminalTypes = STANDARD
    max_bytes: int = 1024 * 1024
    """Of its JSON, without the id."""


STANDARD_RULES = EventRules()


class Edit(NamedTuple):
    """Why an event is not passed on as it was published."""

    kind: Literal["repaired", "trimmed", "replaced", "renumbered"]
    reason: str
    digest: bytes
    """Of the message as it was published."""


class Envelope(NamedTuple):
    """A message as it was published, or as it can be passed on."""

    type: str
    id: EventId | None
    """None for a bare message, which was not recorded before it was published."""
    body: bytes
    """Its JSON on one line, with a member `id` only where `id` is set."""
    edit: Edit | None = None
    times: Times | None = None
    """Where they are known since it was parsed anyway."""

    @property
    def digest(self) -> bytes:
        """By which gateways agree on a bare message: the same before and after an edit."""
        return _digest(self.body) if self.edit is None else self.edit.digest


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


def decode(payload: bytes, max_bytes: int = STANDARD_RULES.max_bytes) -> Envelope:
    """Read a producer's message; one that cannot be passed on as it is, is edited.

    An `id` that is not of our form makes the message a bare one (DELIVERY.md, rule 2): it would
    break the stream.

    Raises:
        MessageRefused: it has no usable `type`.
    """
    try:
        document = orjson.loads(payload) if len(payload) <= max_bytes else None
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        return _edited(payload, max_bytes)
    event_type = _usable_type(document)
    body = one_line(payload)
    if "id" not in document:
        return Envelope(event_type, None, body, times=times_of(document))
    event_id = parse_id(document["id"])
    envelope = Envelope(event_type, event_id, body)
    return envelope if event_id is not None else as_bare(envelope, max_bytes)


def strict(payload: bytes, max_bytes: int) -> Envelope:
    """The envelope of a message that needs no edit, always with its times.

    Raises:
        MessageRefused: it would be edited, has an `id`, or no usable `type`.
    """
    if len(payload) > max_bytes:
        raise MessageRefused(f"it has {len(payload)} bytes, {max_bytes} are allowed")
    try:
        document = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise MessageRefused(f"it is not JSON: {error.msg}") from None
    if not isinstance(document, dict):
        raise MessageRefused("it is not a JSON object")
    event_type = _usable_type(document)
    if "id" in document:
        raise MessageRefused("it has an `id`, which the gateway gives")
    return Envelope(event_type, None, one_line(payload), times=times_of(document))


def _edited(payload: bytes, max_bytes: int) -> Envelope:
    """The envelope of a message that is too large, or that orjson does not take."""
    event_id = None
    # History keeps the JSON without the id: both are edited alike.
    if (given := _SCRIPTS_ID.match(payload)) and (event_id := parse_id(given[1].decode())):
        payload = b"{" + payload[given.end() :]
    repaired = repair(payload, max_bytes)
    event_type = _usable_type(repaired.document)
    body = one_line(repaired.text)
    edit = None
    if repaired.problem is not None:
        edit = Edit(repaired.kind, repaired.problem, _digest(one_line(payload)))
    envelope = Envelope(event_type, None, body, edit)
    if "id" in repaired.document:
        own = parse_id(repaired.document["id"])
        if event_id is None and own is not None:
            body = with_id(without_member(body, "id"), own)
            return Envelope(event_type, own, body, edit)
        envelope = as_bare(envelope, max_bytes)
    if event_id is None:
        return envelope
    return envelope._replace(id=event_id, body=with_id(envelope.body, event_id))


def as_bare(envelope: Envelope, max_bytes: int) -> Envelope:
    """*envelope*, whose `id` is not one of ours, without it: the producer's is kept as `source_id`
    if it is short and not null. Where a script wrote another id before it, that one is left."""
    kept: list[Member] = []
    ids: list[bytes] = []
    for one in members(envelope.body) or ():
        if is_named(one.key, b"id"):
            ids.append(one.value)
        else:
            kept.append(one)
    bare = b"{%b}" % b",".join([one.before + one.value for one in kept])
    source = ids[-1].strip() if ids else b"null"
    if source == b"null" or source[:1] in b"{[" or len(source) > _LONGEST_SOURCE_ID:
        return _with_scripts_id(envelope, bare, envelope.edit, len(ids))
    rest = [one.before + one.value for one in kept if not is_named(one.key, b"source_id")]
    body = b"{%b}" % b",".join([b'"source_id":' + source, *rest])
    if len(body) > max_bytes:
        body = one_line(repair(body, max_bytes).text)
    edit = envelope.edit or Edit("renumbered", "its id is the producer's own", _digest(bare))
    return _with_scripts_id(envelope, body, edit, len(ids))


def _with_scripts_id(envelope: Envelope, body: bytes, edit: Edit | None, ids: int) -> Envelope:
    given = _SCRIPTS_ID.match(envelope.body) if ids > 1 else None
    if given is None or (event_id := parse_id(given[1].decode())) is None:
        return Envelope(envelope.type, None, body, edit)
    return Envelope(envelope.type, event_id, with_id(body, event_id), edit)


def stored(payload: bytes, max_bytes: int) -> Envelope:
    """What an entry of a history holds; never with an id, which the entry has.

    Raises:
        MessageRefused: it has no usable `type`.
    """
    envelope = decode(payload, max_bytes)
    while envelope.id is not None:
        envelope = as_bare(envelope, max_bytes)
    return envelope


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=16).digest()


def one_line(payload: bytes) -> bytes:
    """*payload* without white space around it and line ends between its tokens."""
    body = payload.strip()
    if b"\n" in body or b"\r" in body:
        body = body.replace(b"\n", b"").replace(b"\r", b"")
    return body


def with_id(body: bytes, event_id: EventId) -> bytes:
    """*body*, a JSON object without `id`, with *event_id* first."""
    return b'{"id":"%d-%d",%b' % (*event_id, body[1:])


def untimed(body: bytes) -> bytes | None:
    """The *body* of a bare message without `timestamp`, or with null there; None for any other."""
    if b"timestamp" not in body and b"\\" not in body:
        return body
    # Looking for the member in the text costs ten times as much.
    if "timestamp" not in parse_object(body):
        return body
    found = [one for one in members(body) or () if is_named(one.key, b"timestamp")]
    if any(one.value.strip() != b"null" for one in found):
        return None
    return without_member(body, "timestamp") if found else body


def with_timestamp(body: bytes, timestamp: bytes) -> bytes:
    """*body*, a JSON object without `timestamp`, with this one first."""
    return b'{"timestamp":"%b",%b' % (timestamp, body[1:])


def live(envelope: Envelope) -> Event:
    """The event of a message as it came, with its id or without."""
    event_type, event_id, body, *_ = envelope
    line = b"" if event_id is None else b"id: %d-%d\n" % event_id
    frame = b"%bevent: %b\ndata: %b\n\n" % (line, event_type.encode(), body)
    return Event(event_type, event_id, frame)


def recorded(event_type: str, body: bytes, event_id: EventId) -> Event:
    """The event of a *body* without `id` that history has under *event_id*."""
    return live(Envelope(event_type, event_id, with_id(body, event_id)))


def _usable_type(document: Mapping[str, object]) -> str:
    """Its type, if it may be in an `event:` line.

    Only printable text may: CR and LF end the line (WHATWG HTML, section 9.2.6), and some client
    libraries also split at U+2028 and the like, or strip the name: ` stream:closing` would look
    like the gateway's own event.
    """
    value = document.get("type")
    if not isinstance(value, str) or not value:
        has = ", ".join(f"{name:.30}" for name in islice(document, 5))
        raise MessageRefused(
            "no type: `type` is not text"
            if "type" in document
            else f"no type: it has {has or '{}'}"
        )
    if len(value) > MAX_TYPE_LENGTH:
        raise MessageRefused(f"its type is longer than {MAX_TYPE_LENGTH} characters")
    if not value.isprintable():
        raise MessageRefused("its type has a character that is not printable")
    if value != value.strip():
        raise MessageRefused("its type begins or ends with white space")
    if value in _RESERVED_TYPES or value.startswith(_RESERVED_PREFIX):
        raise MessageRefused("its type is one of the gateway's own")
    return value
