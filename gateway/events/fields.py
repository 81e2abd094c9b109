"""Reads single fields of producers' events, which may hold anything or be missing.

A reader returns None for a value that is not usable; none raises. The JavaScript client has the
same rules, with the same results.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import orjson

# ISO 8601 as RFC 3339 narrows it, and `str()` of a Python datetime. `fromisoformat` accepts more,
# about which JavaScript would not agree. Year 1 is what Go writes for a time that is not set.
_TIME = re.compile(
    r"(?!000[01])([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]"
    r"([0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?)"
    r"(?:Z|([+-][0-9]{2}):?([0-9]{2}))?"
)
_LARGEST = 2**53
"""Above it JavaScript cannot tell integers apart."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def time(value: object) -> str | None:
    """*value* as a time with its zone: text, where a missing zone is UTC, or a Unix time.

    The digits of a text stay as the producer wrote them; only the zone is added, as `Z`.
    """
    if isinstance(value, int | float):
        return _unix_time(value)
    if not isinstance(value, str) or (match := _TIME.fullmatch(value)) is None:
        return None
    date, clock, hours, minutes = match.groups()
    is_utc = hours is None or (hours[1:], minutes) == ("00", "00")
    text = f"{date}T{clock}{'Z' if is_utc else f'{hours}:{minutes}'}"
    try:
        datetime.fromisoformat(text)
    except ValueError:
        # Such as the 30th of February.
        return None
    return text


def _unix_time(value: float) -> str | None:
    """Seconds, milliseconds or microseconds: from 1973 to 5138 their sizes do not overlap."""
    if not 1e8 <= value < 1e17:
        return None
    value = float(value)
    milliseconds = value * 1000 if value < 1e11 else value if value < 1e14 else value / 1000
    return stamp(_EPOCH + timedelta(milliseconds=math.floor(milliseconds)))


def time_in(data: Mapping[str, object], name: str, otherwise: str | None) -> str | None:
    """The time in the field *name*; *otherwise* where there is no such field. A value that is no
    time gives None: another time in its place would be a guess."""
    value = data.get(name)
    return otherwise if value is None else time(value)


def milliseconds(begin: str | None, end: str | None) -> int | None:
    """Milliseconds from *begin* to *end*, both as `time` gives them; never negative.

    Both are cut to the millisecond first, as in JavaScript.
    """
    if begin is None or end is None:
        return None
    return max(0, since_epoch(end) - since_epoch(begin))


def since_epoch(text: str) -> int:
    """Milliseconds since 1970 of a time as `time` gives it, rounded down."""
    return (datetime.fromisoformat(text) - _EPOCH) // timedelta(milliseconds=1)


def stamp(moment: datetime) -> str:
    """A UTC time as events have it: `2025-01-31T12:00:00.000Z`."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def number(value: object) -> int | float | None:
    """*value* if it is a number that is not negative."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if 0 <= value <= _LARGEST else None


def label(value: object) -> str | None:
    """A name or an id: text, or a whole number as text."""
    value = _as_integer(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value)


def _as_integer(value: object) -> object:
    """`7.0` as 7: JavaScript cannot tell them apart."""
    if isinstance(value, float) and value.is_integer() and abs(value) <= _LARGEST:
        return int(value)
    return value


def error_text(data: Mapping[str, object], *names: str) -> str | None:
    """What went wrong: the first of the fields *names* that is text or an object with a text
    `message`, else the first that is a number, an object or a list, as JSON."""
    values = [data.get(name) for name in names]
    for value in values:
        text = value.get("message") if isinstance(value, dict) else value
        if isinstance(text, str):
            return text
    unusual = (value for value in values if not isinstance(value, bool | None))
    return next(map(_json, unusual), None)


def _json(value: object) -> str:
    try:
        return orjson.dumps(_as_integer(value)).decode()
    except (orjson.JSONEncodeError, UnicodeError):
        return "an error that cannot be shown as text"


class Times(NamedTuple):
    """What an event says of when it happened, as its JSON has it."""

    timestamp: object = None
    started_at: object = None
    completed_at: object = None

    def moment(self, *, ends: bool, now: str | None = None) -> str:
        """When it happened, as the run document says it: its run's end, if it *ends* it, else its
        begin. Empty where the event does not tell. *now*: the `stamp` that it gets in place of a
        timestamp."""
        at = now or time(self.timestamp)
        if not ends:
            return time(self.started_at) or at or ""
        # A value that is no time is not replaced: another time would be a guess.
        return (at if self.completed_at is None else time(self.completed_at)) or ""


def times_of(envelope: Mapping[str, object]) -> Times:
    """The times of the event in *envelope*."""
    data = envelope.get("data")
    if not isinstance(data, dict):
        return Times(envelope.get("timestamp"))
    return Times(envelope.get("timestamp"), data.get("started_at"), data.get("completed_at"))
