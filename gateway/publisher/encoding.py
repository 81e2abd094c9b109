"""Writes the data of an event as JSON: all that `json.dumps` takes, and the usual Python values.
Times are UTC with `Z`, to the millisecond.

orjson writes ordinary data. Data that it refuses (keys that are not text, integers above 64 bits,
half a surrogate pair) is first converted by a walk, which is slower and knows each value's path.
"""

import json  # noqa: TID251 # orjson refuses large integers and surrogates
import math
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, ClassVar, Protocol, cast
from uuid import UUID

import orjson

from gateway.events.fields import stamp
from gateway.publisher.retry import EventRefused

MAX_DEPTH = 250
"""Most levels of lists and objects within each other; orjson has about the same limit."""

_MAX_BITS = 10_000
"""Most bits of an integer: Python itself refuses to write some more."""


class _Model(Protocol):
    """A pydantic model."""

    def model_dump(self, *, mode: str) -> Any:
        """Its fields as JSON has them."""


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Any]]


JsonObject = Mapping[Any, Any] | _Model | _Dataclass
"""What becomes a JSON object."""

Default = Callable[[Any], Any]
"""Gives for a value of an unknown type one that is known, as `default` of `json.dumps` does, or
raises TypeError."""


Moment = datetime | str
"""A time from a producer: a datetime or ISO 8601 text. Without a zone it is UTC."""


def instant(moment: Moment | None) -> datetime:
    """*moment* with its zone; None is now.

    Raises:
        EventRefused: it is not a time.
    """
    if moment is None:
        return datetime.now(UTC)
    try:
        when = moment if isinstance(moment, datetime) else datetime.fromisoformat(moment)
        return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise EventRefused(
            f"{moment!r} is not a time: give a datetime, or text like 2025-01-31T12:00:00.000Z."
        ) from None


def milliseconds(begin: datetime, end: datetime) -> int:
    """Whole milliseconds between two instants; 0 where the clocks of two machines disagree."""
    return max(0, (end - begin) // timedelta(milliseconds=1))


def encode(data: object, default: Default | None) -> bytes:
    """*data* as JSON. NaN and the infinities become null, as every JSON writer of JavaScript does.

    Raises:
        EventRefused: it is not JSON; the text names the path of the value.
    """

    def other(value: object) -> object:
        return _simpler(value, default)

    try:
        return orjson.dumps(
            data,
            default=other,
            option=orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS,
        )
    except TypeError:
        pass
    try:
        plain = _plain(data, "data", other)
    except RecursionError:
        raise EventRefused("The event's data is not JSON: it is nested too deeply.") from None
    text = json.dumps(plain, ensure_ascii=False, separators=(",", ":"))
    # The replacement of half a surrogate pair is its JSON escape.
    return text.encode(errors="backslashreplace")


def _simpler(value: object, default: Default | None) -> object:
    """*value* by the next simpler type; raises TypeError for one that is not known."""
    match value:
        case datetime():
            return stamp(instant(value))
        case date() | time():
            return value.isoformat()
        case Decimal():
            # As text: JavaScript would read a number with fewer digits.
            return str(value) if value.is_finite() else None
        case UUID():
            return str(value)
        case bytes() | bytearray() | memoryview():
            return b64encode(value).decode()
        case Mapping():
            return dict(value)
        case tuple():
            return list(value)
        case _:
            return _members(value, default)


def _members(value: object, default: Default | None) -> object:
    if not isinstance(value, type):
        if is_dataclass(value):
            return {field.name: getattr(value, field.name) for field in fields(value)}
        if hasattr(value, "model_dump"):
            return cast(_Model, value).model_dump(mode="json")
    if default is not None:
        return default(value)
    raise TypeError("give `default`, or another type")


def _plain(value: object, path: str, other: Default, depth: int = 0) -> object:
    """*value* of nothing but what `json.dumps` takes."""
    if depth > MAX_DEPTH:
        raise _refused(path, f"is nested deeper than {MAX_DEPTH} levels, or holds itself")
    match value:
        case Enum():
            return _plain(value.value, path, other, depth + 1)
        case int() if value.bit_length() > _MAX_BITS:
            raise _refused(path, f"is an integer of more than {_MAX_BITS} bits")
        case None | str() | int():
            return value
        case float():
            return value if math.isfinite(value) else None
        case dict():
            members = {
                _key(key, path, other): _plain(member, f"{path}.{key}", other, depth + 1)
                for key, member in value.items()
            }
            if len(members) != len(value):
                raise _refused(path, "has two keys that are the same text in JSON")
            return members
        case list():
            return [
                _plain(item, f"{path}[{index}]", other, depth + 1)
                for index, item in enumerate(value)
            ]
    try:
        simpler = other(value)
    except (TypeError, ValueError, EventRefused) as error:
        raise _refused(path, f"is of type {type(value).__name__}: {error}") from error
    return _plain(simpler, path, other, depth + 1)


def _key(key: object, path: str, other: Default) -> str:
    """*key* as `json.dumps` writes it; dates, UUIDs, enums and the like by their text."""
    plain = _plain(key, f"{path}: its key {key!r:.50}", other)
    if isinstance(plain, str):
        return plain
    if isinstance(plain, dict | list):
        raise _refused(path, f"has the key {key!r:.50}, which is no text")
    return json.dumps(plain)


def _refused(path: str, problem: str) -> EventRefused:
    where = path if len(path) <= 200 else f"{path[:100]}…{path[-50:]}"
    return EventRefused(f"The event's data is not JSON: {where} {problem}.")
