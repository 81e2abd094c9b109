"""Parses producers' JSON, and removes a member without changing a byte of the others.

Producers may put an `id` of their own into an event; decoding and encoding again would change
numbers.
"""

import re
from collections.abc import Iterator
from itertools import repeat
from math import isfinite
from typing import Any, NamedTuple

import orjson

# What browsers accept and orjson does not: half a surrogate pair, and a number that is no double.
# An escaped backslash is matched so that what follows it is not taken for an escape.
_ESCAPE = re.compile(
    rb"\\\\|\\u[dD][89aAbB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)
# An unclosed string reaches to the end: no part is looked at twice.
_NUMBER = re.compile(rb'(?s)"(?:[^"\\]|\\.)*+"?|-?[0-9](?:[0-9.]|[eE][-+]?)*+')


_LONGEST_NUMBER = 400


def parse(payload: bytes) -> Any:
    """*payload* decoded; half a surrogate pair becomes U+FFFD, as a browser shows it, and a number
    that is no double becomes null.

    Raises:
        orjson.JSONDecodeError: it is not JSON.
    """
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError:
        payload = _ESCAPE.sub(_whole, payload)
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError:
        return orjson.loads(_NUMBER.sub(_finite, payload))


def _finite(token: re.Match[bytes]) -> bytes:
    text = token[0]
    if text.startswith(b'"') or len(text) < len("1e309"):
        return text
    try:
        return text if len(text) < _LONGEST_NUMBER and isfinite(float(text)) else b"null"
    except ValueError:
        return text


def parse_object(payload: bytes) -> dict[str, Any]:
    """*payload* as `parse` decodes it if it is a JSON object; an empty one for anything else."""
    try:
        document = parse(payload)
    except orjson.JSONDecodeError:
        document = None
    return document if isinstance(document, dict) else {}


def _whole(escape: re.Match[bytes]) -> bytes:
    return rb"\ufffd" if escape["half"] else escape[0]


STRING = rb'"(?:[^"\\]++|\\.)*+"'
_FLAT = rb'[^"{}\[\]]++|' + STRING
# Values up to this depth are one match; deeper ones cost a step for each bracket.
_NESTED = _FLAT
for _ in range(3):
    _NESTED = _FLAT + rb"|[{\[](?:" + _NESTED + rb")*+[}\]]"
# A member's name, and its value too where that is not nested, with what follows it.
_MEMBER = re.compile(
    rb"(\s*+(" + STRING + rb")\s*+:\s*+)"
    rb"(?:[{\[]|(?:" + STRING + rb'\s*+(?=[,}]|\Z)|[^"{}\[\],]++(?=[,}]))([,}]?))'
)
_EMPTY = re.compile(rb"\s*+{\s*+}")
_AFTER_NESTED = re.compile(rb"\s*+([,}])")
_BRACKET = re.compile(rb"(?:" + _NESTED + rb")*+([{}\[\]])")


class Member(NamedTuple):
    """A member of a JSON object, as it is written."""

    before: bytes
    """Its name, the colon, and the white space around them."""
    key: bytes
    """Its name, with the quotes."""
    value: bytes
    after: bytes
    """A comma or a brace; empty if the value has no end, or none that was found."""


def without_member(document: bytes, name: str) -> bytes:
    """*document*, a valid JSON object, without its own member *name* (nested ones stay)."""
    found = members(document) or ()
    kept = [one.before + one.value for one in found if not is_named(one.key, name.encode())]
    return b"{%b}" % b",".join(kept)


def members(document: bytes, most: int | None = None) -> list[Member] | None:
    """The members of the outermost object; None if it is no whole object, or if more than *most*
    steps are needed to find them."""
    found = list(scan(document, most))
    is_whole = found[-1].after == b"}" if found else _EMPTY.match(document)
    return found if is_whole else None


def scan(document: bytes, most: int | None = None) -> Iterator[Member]:
    """The same as far as *document* is JSON, and in *most* steps; the last one may be cut off."""
    steps = repeat(None) if most is None else repeat(None, most)
    at = document.find(b"{") + 1
    for _ in steps:
        if not (member := _MEMBER.match(document, at)):
            return
        before, key, after = member.groups()
        start, at = member.end(1), member.end()
        if after is None:
            end = _end_of_nested(document, at, steps)
            last = _AFTER_NESTED.match(document, end) if end is not None else None
            if last is None:
                yield Member(before, key, document[start:], b"")
                return
            at, after = last.end(), last[1]
        yield Member(before, key, document[start : at - len(after)], after)
        if after == b"}":
            return


def _end_of_nested(document: bytes, at: int, steps: Iterator[None]) -> int | None:
    """Where the nested value ends whose first bracket is just before *at*; None if it does not end,
    or not within these *steps*."""
    depth = 1
    for _ in steps:
        if (bracket := _BRACKET.match(document, at)) is None:
            return None
        depth += 1 if bracket[1] in b"{[" else -1
        at = bracket.end()
        if depth == 0:
            return at
    return None


_MOST_TOKENS = 1_000_000
"""Quotes, and four for each bracket, of a text that is read to its end. A quote takes up to 0.1 us,
in which no other event is sent."""

_PART = 256 * 1024
"""Bytes at the beginning that are read of a text that has more."""

_LAST_PART = 1024


def is_costly(text: bytes) -> bool:
    """Whether it would take long to read all of it."""
    tokens = 0
    for at in range(0, len(text), _PART):
        part = text[at : at + _PART]
        tokens += part.count(b'"') + 4 * (part.count(b"[") + part.count(b"{"))
        if tokens > _MOST_TOKENS:
            return True
    return False


def beginning(text: bytes) -> bytes:
    """As much of it as is read quickly, whatever it is."""
    return text[:_PART]


def last_value(text: bytes, name: str) -> bytes | None:
    """The string that a member *name* of the outermost object has, if no nested value comes after
    it; found without the rest of *text*, so only in its last KiB."""
    if any(
        text.count(opening) != text.count(closing)
        for opening, closing in ((b"{", b"}"), (b"[", b"]"))
    ):
        # It is cut off, and that member could be one of an object within.
        return None
    last = re.search(
        rb',\s*+"%b"\s*+:\s*+(%b)\s*+(?:,\s*+%b\s*+:\s*+(?:%b|[^"{}\[\],]++)\s*+)*+}\Z'
        % (name.encode(), STRING, STRING, STRING),
        text[-_LAST_PART:],
    )
    return last and last[1]


def is_named(key: bytes, name: bytes) -> bool:
    """Whether a member's *key* says *name*: the same as `name_of`, for many members."""
    if b"\\" in key:
        return name_of(key) == name.decode()
    return key[1:-1] == name


def name_of(key: bytes) -> str | None:
    """The text of a member's name."""
    if b"\\" not in key:
        return key[1:-1].decode(errors="replace")
    try:
        return str(orjson.loads(key))
    except orjson.JSONDecodeError:
        # Half a surrogate pair: not the name of any member of ours.
        return None
