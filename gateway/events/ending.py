"""How a run ended, as its terminal event says it.

Engines have their own terminal types (`run.failed`, `EXECUTION:TIMED_OUT`, `job:done`). An unknown
ending is `ended`; `completed` is never guessed. The JavaScript client has the same rules
(client/ending.js), and both are checked with `tests/events/vectors/endings.jsonl`.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Literal, get_args

from gateway.events.json_edit import parse_object

EndingStatus = Literal["completed", "failed", "canceled", "ended"]
TerminalTypes = Mapping[str, EndingStatus | None]
"""The types that end a run; a status where the operator has given one."""

STANDARD: Mapping[str, EndingStatus] = {
    "execution:completed": "completed",
    "execution:failed": "failed",
    "execution:canceled": "canceled",
    "execution:cancelled": "canceled",
}
TERMINAL_TYPES = tuple(STANDARD)

# Without white space, case and punctuation: `timedout` is TIMED_OUT and `timed out` too.
_WORDS: Mapping[str, EndingStatus] = {
    **dict.fromkeys(
        ("failed", "failure", "error", "errors", "errored", "crashed", "timedout", "timeout",
         "killed", "rejected", "aborted"),
        "failed",
    ),
    **dict.fromkeys(
        ("canceled", "cancelled", "terminated", "terminatedbyuser", "terminatedbyauser"),
        "canceled",
    ),
    **dict.fromkeys(
        ("completed", "succeeded", "success", "successful", "finished", "done"), "completed"
    ),
}  # fmt: skip
_ERRORS = ("error", "error_message", "errors")
_NEGATIONS = frozenset({"not", "never", "no", "non", "un", "without"})
_LONGEST = 128
_ONE_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?(?:[a-z0-9]|[^\x00-\x7f])+")


def ending_status(
    event_type: str,
    data: Mapping[str, object],
    terminal_types: TerminalTypes,
    trimmed: object = None,
) -> EndingStatus:
    """How a run ended that ended with this event. In this order: what *terminal_types* gives; the
    standard types; `data.status`; an error in *data*; the last word of the type; else `ended`.

    *trimmed*: the event's own member, of what was too large in its data."""
    names = trimmed if isinstance(trimmed, list) else []
    status = _given(event_type, terminal_types) or _of_status(data.get("status"))
    if status is None and any(data.get(name) or name in names for name in _ERRORS):
        return "failed"
    if status is None and "data" in names:
        return ending_of_type(event_type, terminal_types)
    return status or _of_last_word(event_type)


def status_of(event_type: str, payload: bytes, terminal_types: TerminalTypes) -> EndingStatus:
    """The same of an event that is not parsed yet."""
    event = parse_object(payload)
    data = event.get("data")
    data = data if isinstance(data, dict) else {}
    return ending_status(event_type, data, terminal_types, event.get("trimmed"))


def ending_of_type(event_type: str, terminal_types: TerminalTypes) -> EndingStatus:
    """The same where the event's data is not known: an error there may deny a success, so only a
    standard type or *terminal_types* can say `completed`."""
    if (given := _given(event_type, terminal_types)) is not None:
        return given
    status = _of_last_word(event_type)
    return "ended" if status == "completed" else status


def read_terminal_types(words: Iterable[str]) -> dict[str, EndingStatus | None]:
    """Types that end a run, from words like `run.failed` and `run.over=failed`.

    Raises:
        ValueError: one of *words* has no type, or a status that does not exist.
    """
    types: dict[str, EndingStatus | None] = {}
    for word in words:
        event_type, status = read_with_status(word)
        if status is None and "=" in word:
            raise ValueError(
                f"{word!r} is not a terminal type: write type or type=status, and use the status "
                f"{', '.join(get_args(EndingStatus)[:-1])} or ended"
            )
        types[event_type] = status
    return types


def with_status(event_type: str, payload: bytes, terminal_types: TerminalTypes) -> str:
    """What the scripts get of an event: `<type>=<status>` if it ends its run, else empty."""
    if event_type not in terminal_types:
        return ""
    return f"{event_type}={status_of(event_type, payload, terminal_types)}"


def read_with_status(text: str) -> tuple[str, EndingStatus | None]:
    """The type and the status in what `with_status` makes; of any other text, no status."""
    event_type, _, status = text.rpartition("=")
    found = parse_status(status)
    return (event_type, found) if event_type and found else (text, None)


def parse_status(text: object) -> EndingStatus | None:
    """*text* as a status, or None."""
    return next((one for one in get_args(EndingStatus) if one == text), None)


def _given(event_type: str, terminal_types: TerminalTypes) -> EndingStatus | None:
    return terminal_types.get(event_type) or STANDARD.get(event_type)


def _of_status(value: object) -> EndingStatus | None:
    if not isinstance(value, str) or len(value) > _LONGEST:
        return None
    return _WORDS.get("".join(_words(value)))


def _of_last_word(event_type: str) -> EndingStatus:
    words = _words(event_type)
    for count in range(1, min(4, len(words)) + 1):
        status = _WORDS.get("".join(words[-count:]))
        if status is not None and not _NEGATIONS.intersection(words[-count - 1 : -count]):
            return status
    return "ended"


def _words(text: str) -> list[str]:
    # Letters of other scripts belong to a word, and stay as they are: languages differ in their
    # lower case.
    return [word.lower() if word.isascii() else word for word in _ONE_WORD.findall(text)]
