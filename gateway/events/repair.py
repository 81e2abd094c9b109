"""Makes an event from a message that cannot be passed on unchanged, so that a run ends when its
worker said so.

Only the tokens that are wrong change: NaN becomes null, what is too large becomes null. If that is
not enough, a placeholder of the same type says what was wrong. All of it takes linear time.
"""

import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Literal, NamedTuple

import orjson

from gateway.errors import MessageRefused
from gateway.events.json_edit import beginning, is_costly, last_value, members, name_of, scan

PARSED_TIMES = 16
"""A message of more than so many times the limit is not parsed."""

_LONGEST_KEPT = 512
"""Bytes of a value that a placeholder keeps."""

_FEW_STEPS = 4000
"""Members of data among which a placeholder looks for those that it keeps."""

_MOST_STEPS = 40_000
"""Members and deep brackets that are looked at in any message."""

_KEPT = frozenset({
    "node_id", "node_type", "position", "attempt", "status", "started_at", "completed_at",
    "duration_ms", "execution_time_ms", "error_message", "generated_document_id",
})  # fmt: skip

Kind = Literal["repaired", "trimmed", "replaced"]


class Repaired(NamedTuple):
    """A message that can be passed on."""

    text: bytes
    document: dict[str, Any]
    kind: Kind
    problem: str | None
    """What was wrong with it; None if it has not changed."""


class _Broken(Exception):
    """There is no JSON object to be made of it."""


def repair(payload: bytes, max_bytes: int) -> Repaired:
    """*payload* as a JSON object of at most *max_bytes*.

    Raises:
        MessageRefused: it has no type that can be read.
    """
    text, problem = _decoded(payload)
    if text.startswith(b'"'):
        text, problem = _unwrapped(text)
    size = len(text)
    if size > max_bytes and (size > PARSED_TIMES * max_bytes or is_costly(text)):
        return _placeholder(text, _too_large(size, max_bytes), max_bytes)
    kind: Kind = "repaired"
    try:
        if size > max_bytes:
            problem, kind = _too_large(size, max_bytes), "trimmed"
            text = _trimmed(text, max_bytes)
        document, fixed, wrong = _parsed(text)
        if len(fixed) > max_bytes:
            problem, kind = _too_large(len(fixed), max_bytes), "trimmed"
            document, fixed, wrong = _parsed(_trimmed(fixed, max_bytes))
    except _Broken as broken:
        reason = "; ".join(one for one in (problem, str(broken)) if one)
        return _placeholder(text, reason, max_bytes)
    if not isinstance(document, dict):
        raise MessageRefused(f"it is not a JSON object but {_kind_of(document)}")
    return Repaired(fixed, document, kind, problem or wrong)


def _too_large(size: int, max_bytes: int) -> str:
    return f"it has {size} bytes, {max_bytes} are allowed"


def _kind_of(document: object) -> str:
    return {str: "a text", list: "a list", bool: "a truth value", type(None): "null"}.get(
        type(document), "a number"
    )


def _decoded(payload: bytes) -> tuple[bytes, str | None]:
    """*payload* in UTF-8, without what stands around it; and what was wrong."""
    encoding, problem = _encoding(payload), None
    if payload.startswith(BOM_UTF8):
        problem, payload = "it begins with a byte order mark", payload[len(BOM_UTF8) :]
    if encoding != "utf-8":
        problem = f"it is {encoding}"
    try:
        payload.decode(encoding)
    except UnicodeDecodeError as error:
        problem = f"it is not {encoding} at byte {error.start}"
    text = payload if problem is None else payload.decode(encoding, "replace").encode()
    stripped = text.strip()
    text = stripped.strip(b"\0 \t\r\n\v\f")
    if len(text) != len(stripped):
        problem = problem or "there are NUL bytes around it"
    return text, problem


def _encoding(payload: bytes) -> str:
    # In UTF-16 every other byte of a brace and a quote is NUL.
    if payload.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        return "utf-16"
    return (
        {(1, 0): "utf-16-le", (0, 1): "utf-16-be"}.get(
            (payload[:1] > b"\0", payload[1:2] > b"\0"), "utf-8"
        )
        if len(payload) > 1
        else "utf-8"
    )


def _unwrapped(text: bytes) -> tuple[bytes, str | None]:
    """What is in a JSON text that is a string; once, and not again."""
    try:
        inner = orjson.loads(text)
    except orjson.JSONDecodeError:
        inner = ""
    if not isinstance(inner, str) or not inner.lstrip().startswith("{"):
        raise MessageRefused("it is not a JSON object but a text")
    return inner.encode("utf-8", "replace").strip(), "it is JSON in JSON"


# An unclosed string reaches to the end, so that no part of the text is looked at twice.
_UNCLOSED = rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)'
_NON_FINITE = re.compile(
    rb"((?:[^\"NI-]++|-(?!Infinity|NaN)|N(?!aN)|I(?!nfinity)|" + _UNCLOSED + rb")*+)"
    rb"(-?(?:NaN|Infinity)|\Z)",
    re.DOTALL,
)
_ANY_STRING = re.compile(_UNCLOSED, re.DOTALL)
_CONTROL = re.compile(rb"[\x00-\x1f]")
# JSON may escape half a surrogate pair; browsers accept that, orjson does not.
_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
# The same of numbers that are no double.
# It begins with one class of bytes, so that `re` skips all others quickly.
_TOO_LARGE = re.compile(rb"[0-9](?:[eE]\+?[0-9]{3,}|[0-9]{299,})")


def _parsed(text: bytes) -> tuple[Any, bytes, str | None]:
    """*text* decoded, its JSON, and what was wrong with it."""
    try:
        return _loads(text), text, None
    except orjson.JSONDecodeError as error:
        first, wrong = _NON_FINITE.match(text), None
        if first is not None and first[2]:
            wrong = f"{first[2].decode()} at byte {first.end(1)}"
            text = _NON_FINITE.sub(lambda found: found[1] + (b"null" if found[2] else b""), text)
            with suppress(orjson.JSONDecodeError):
                return _loads(text), text, wrong
        elif _CONTROL.search(text):
            wrong = "a control character in a text"
        else:
            raise _Broken(f"it is not JSON ({error})") from None
    text = _without_controls(text)
    try:
        return _loads(text), text, wrong
    except orjson.JSONDecodeError as error:
        raise _Broken(f"{wrong}; it is not JSON ({error})") from None


def _without_controls(text: bytes) -> bytes:
    """*text* with its control characters escaped; those that are white space, only in strings."""
    # Strings first: the escapes of the others make them slow to read.
    text = _ANY_STRING.sub(_without_line_ends, text)
    for code in range(0x20):
        if code not in b"\t\n\r":
            text = text.replace(bytes([code]), b"\\u%04x" % code)
    return text


def _without_line_ends(found: re.Match[bytes]) -> bytes:
    return found[0].replace(b"\n", rb"\n").replace(b"\r", rb"\r").replace(b"\t", rb"\t")


def _loads(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        # Only these copies lose something, and no usable type has it. Not `json_edit.parse`, which
        # is much slower for a payload made of escapes.
        copy = _TOO_LARGE.sub(b"1", _ESCAPED_SURROGATE.sub(rb"\\u0000", text))
        if copy == text:
            raise
    return orjson.loads(copy)


def _trimmed(text: bytes, max_bytes: int) -> bytes:
    """*text* without the largest members of `data`, which become null until it fits."""
    top = members(text, _steps(text)) if text.startswith(b"{") else None
    data = next((one for one in reversed(top or ()) if name_of(one.key) == "data"), None)
    if top is None or data is None or not data.value.startswith(b"{"):
        raise _Broken("it cannot be trimmed")
    inner = members(data.value, _steps(data.value))
    if inner is None:
        raise _Broken("it cannot be trimmed")
    excess = len(text) + len(b',"trimmed":[]') - max_bytes
    nulled: set[int] = set()
    for number in sorted(range(len(inner)), key=lambda one: -len(inner[one].value)):
        gain = len(inner[number].value) - len(b"null") - len(inner[number].key) - 1
        if excess <= 0 or gain <= 0:
            break
        nulled.add(number)
        excess -= gain
    if excess > 0:
        raise _Broken("it is still too large without the members of its data")
    kept = b",".join(
        one.before + (b"null" if number in nulled else one.value)
        for number, one in enumerate(inner)
    )
    names = b",".join(dict.fromkeys(inner[number].key for number in sorted(nulled)))
    parts = [
        one.before + (b"{%b}" % kept if one is data else one.value)
        for one in top
        if name_of(one.key) != "trimmed"
    ]
    return b'{%b,"trimmed":[%b]}' % (b",".join(parts), names)


def _placeholder(text: bytes, problem: str, max_bytes: int) -> Repaired:
    """An event of the same type that says what was wrong, with what is short and known.

    Raises:
        MessageRefused: the type cannot be read.
    """
    found: dict[str, bytes] = {}
    data: dict[str, bytes] = {}
    readable = beginning(text) if is_costly(text) else text
    for name, value in _members(readable, _steps(readable)):
        if name == "data":
            data = {
                one: short
                for one, short in _members(value, _FEW_STEPS)
                if one in _KEPT and _is_short(short)
            }
        elif name in ("type", "timestamp", "id", "traceparent") and _is_short(value):
            found[name] = value
    if readable is not text and (last := last_value(text, "type")) is not None:
        found["type"] = last
    if "type" not in found:
        raise MessageRefused(f"no type can be read: {problem}")
    inner = b",".join(b'"%b":%b' % (name.encode(), value) for name, value in data.items())
    outer = b",".join(b'"%b":%b' % (name.encode(), value) for name, value in found.items())
    made = b'{%b,"data":{%b},"trimmed":["data"],"problem":%b}' % (
        outer, inner, orjson.dumps(problem),
    )  # fmt: skip
    if len(made) > max_bytes:
        made = b'{"type":%b,"data":{},"trimmed":["data"]}' % found["type"]
    return Repaired(made, _loads(made), "replaced", problem)


def _steps(text: bytes) -> int:
    """How many members and deep brackets are looked at: many in a large text, few in many small."""
    return min(_FEW_STEPS + len(text) // 64, _MOST_STEPS)


def _members(text: bytes, most: int) -> Iterator[tuple[str, bytes]]:
    """The name and the text of each member, as far as *text* is a JSON object and *most* steps
    go."""
    for one in scan(text, most) if text.startswith(b"{") else ():
        yield name_of(one.key) or "", one.value.strip()


def _is_short(value: bytes) -> bool:
    """Whether a placeholder can have it: not nested, and not cut off."""
    if len(value) > _LONGEST_KEPT or value.startswith((b"{", b"[")):
        return False
    try:
        _loads(value)
    except orjson.JSONDecodeError:
        return False
    return True
