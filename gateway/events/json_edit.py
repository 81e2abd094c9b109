"""Parses producers' JSON, and removes a member without changing a byte of the others.

Producers may put an `id` of their own into an event; decoding and encoding again would change
numbers.
"""

import re
from collections.abc import Iterator
from typing import Any

import orjson

# JSON may escape half a surrogate pair; browsers accept that, orjson does not. An escaped backslash
# is matched so that what follows it is not taken for an escape.
_ESCAPE = re.compile(
    rb"\\\\|\\u[dD][89aAbB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)


def parse(payload: bytes) -> Any:
    """*payload* decoded; half a surrogate pair becomes U+FFFD, as a browser shows it.

    Raises:
        orjson.JSONDecodeError: it is not JSON.
    """
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError:
        return orjson.loads(_ESCAPE.sub(_whole, payload))


def parse_object(payload: bytes) -> dict[str, Any]:
    """*payload* as `parse` decodes it if it is a JSON object; an empty one for anything else."""
    try:
        document = parse(payload)
    except orjson.JSONDecodeError:
        document = None
    return document if isinstance(document, dict) else {}


def _whole(escape: re.Match[bytes]) -> bytes:
    return rb"\ufffd" if escape["half"] else escape[0]


_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\],]')


def without_member(document: bytes, name: str) -> bytes:
    """*document*, a valid JSON object, without its own member *name* (nested ones stay)."""
    kept = [member for member in _members(document) if _name_of(member) != name]
    return b"{%b}" % b",".join(kept)


def _members(document: bytes) -> Iterator[bytes]:
    """The text of each member of the outermost object."""
    depth, begin = 0, 0
    for token in _TOKEN.finditer(document):
        match token.group():
            case b"{" | b"[":
                depth += 1
                if depth == 1:
                    begin = token.end()
            case b"}" | b"]":
                depth -= 1
                if depth == 0 and document[begin : token.start()].strip():
                    yield document[begin : token.start()]
            case b"," if depth == 1:
                yield document[begin : token.start()]
                begin = token.end()


def _name_of(member: bytes) -> str | None:
    key = _TOKEN.search(member)
    try:
        name = orjson.loads(key.group()) if key is not None else None
    except orjson.JSONDecodeError:
        # Half a surrogate pair: not the name of any member of ours.
        return None
    return name if isinstance(name, str) else None
