"""Reads single fields of producers' events, which may hold anything or be missing.

A reader returns None for a value that is not usable; none raises. The JavaScript client has the
same rules, with the same results.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

# ISO 8601 as RFC 3339 narrows it, and `str()` of a Python datetime. `fromisoformat` accepts more,
# about which JavaScript would not agree.
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]"
    r"([0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?)"
    r"(?:Z|([+-][0-9]{2}):?([0-9]{2}))?"
)
_LARGEST = 2**53
"""Above it JavaScript cannot tell integers apart."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def time(value: object) -> str | None:
    """*value* as a time with its zone; without one it is UTC.

    The digits stay as the producer wrote them; only the zone is added, as `Z`.
    """
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


def milliseconds(begin: str | None, end: str | None) -> int | None:
    """Milliseconds from *begin* to *end*, both as `time` gives them; never negative.

    Both are cut to the millisecond first, as in JavaScript.
    """
    if begin is None or end is None:
        return None
    return max(0, _since_epoch(end) - _since_epoch(begin))


def _since_epoch(text: str) -> int:
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
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value)


def error_text(data: Mapping[str, object], *names: str) -> str | None:
    """The first of the fields *names* that is text, or the `message` of an object there."""
    for name in names:
        value = data.get(name)
        if isinstance(value, dict):
            value = value.get("message")
        if isinstance(value, str):
            return value
    return None


def moment_of(envelope: Mapping[str, object], *, ends: bool) -> str:
    """When the event of *envelope* happened, as the run document says it: its run's end, if it
    *ends* it, else its begin. Empty where the event does not tell."""
    data = envelope.get("data")
    given = data.get("completed_at" if ends else "started_at") if isinstance(data, dict) else None
    return time(given) or time(envelope.get("timestamp")) or ""
