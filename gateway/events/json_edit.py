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


_STRING = rb'"(?:[^"\\]|\\.)*+"'
# A member's name, and its value too where that is not nested, with what follows it.
_MEMBER = re.compile(
    rb"\s*+(" + _STRING + rb")\s*+:\s*+(?:[{\[]|(?:" + _STRING + rb'|[^"{}\[\],]++)\s*+([,}]))'
)
_AFTER_NESTED = re.compile(rb"\s*+([,}])")
# All up to the next bracket: within a nested value nothing else matters.
_BRACKET = re.compile(rb'(?:[^"{}\[\]]++|' + _STRING + rb")*+([{}\[\]])")


def without_member(document: bytes, name: str) -> bytes:
    """*document*, a valid JSON object, without its own member *name* (nested ones stay)."""
    kept = [text for key, text in _members(document) if _name_of(key) != name]
    return b"{%b}" % b",".join(kept)


def _members(document: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The name of each member of the outermost object, and all of its text."""
    at = document.index(b"{") + 1
    while member := _MEMBER.match(document, at):
        last = member
        if member[2] is None:
            after = _AFTER_NESTED.match(document, _end_of_nested(document, member.end()))
            if after is None:
                return
            last = after
        yield member[1], document[at : last.end() - 1]
        at = last.end()


def _end_of_nested(document: bytes, at: int) -> int:
    """Where the nested value ends whose first bracket is just before *at*."""
    depth = 1
    while depth and (bracket := _BRACKET.match(document, at)):
        depth += 1 if bracket[1] in b"{[" else -1
        at = bracket.end()
    return at


def _name_of(key: bytes) -> str | None:
    """The text of a member's name."""
    if b"\\" not in key:
        return key[1:-1].decode(errors="replace")
    try:
        return str(orjson.loads(key))
    except orjson.JSONDecodeError:
        # Half a surrogate pair: not the name of any member of ours.
        return None
