"""How the gateway logs: one line an event, for people or as JSON, and never a token.

Every line passes `redact` last, whoever wrote it and whatever exception it carries: libraries log
request lines, and the contract allows tokens in the query. It does not decide what is logged.
"""

import logging
import re
import sys
import time
from collections.abc import Callable
from typing import Any, Literal

import orjson

from gateway.harmless import harmless, harmless_lines

_VALUE = 512
"""Most characters of one field's value: an id, a path and an address are shorter."""

_MESSAGE = 8 * 1024
"""Most characters of a message, with all its fields."""

_TRACE = 16 * 1024
"""Most characters of an exception with its trace."""

_SCANNED = 64 * 1024
"""Most characters of a text that are looked at; a request line has 8 KiB."""

# Each is linear for any text: what a match can begin with stands in no stretch that an attempt
# scans before it fails, so no character is scanned by two attempts of one pattern.
_SECRETS = (
    # Credentials in a query or a header, also when they are not a JWT at all.
    (re.compile(r"(?i)(authorization['\"]?\s*[=:]\s*['\"]?)(?:bearer(?:%20|\+|\s))?[^&\s'\"]+"),
     r"\1[redacted]"),
    (re.compile(r"(?i)\b(bearer(?:%20|\+|\s))[^&\s'\"]+"), r"\1[redacted]"),
    (re.compile(r"(?i)\b(ticket|token)=[^&\s'\"]+"), r"\1=[redacted]"),
    # The password of a Redis URL, whatever its scheme.
    (re.compile(r"(://[^/:@\s]*:)[^@/\s]+@"), r"\1[redacted]@"),
)  # fmt: skip

# A JWT anywhere: header and payload are base64url of `{"…`, so both begin with eyJ. All that may
# belong to it is one match, with a dot in it or without: a search that failed would begin again
# at each further eyJ.
_JWT = re.compile(r"eyJ[\w.-]*")


def redact(text: str) -> str:
    """*text* without tokens, tickets and passwords, in time linear to its length."""
    text = _JWT.sub(lambda found: "[redacted]" if "." in found[0] else found[0], text)
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def _bounded(text: str, most: int) -> str:
    """*text* redacted, with the middle left out if it has more than *most* characters.

    It is redacted first: of a token that was cut, the rest would look like none.
    """
    length, beyond = len(text), len(text) > _SCANNED
    if beyond:
        # Up to the last space: the word at the cut may be a part of a token.
        text = text[: max(0, text.rfind(" ", 0, _SCANNED))]
    text = redact(text)
    if len(text) <= most and not beyond:
        return text
    half = most // 2
    return f"{text[:half]}... ({length} characters) ...{'' if beyond else text[-half:]}"


_PLAIN = re.compile(r"[\w./:@+-]+", re.ASCII)


class Fields(dict[str, str | float]):
    """What a line says of an event, by name: `name=value` in text, members of the JSON object."""

    def __str__(self) -> str:
        return " ".join(f"{name}={_as_text(value)}" for name, value in self.items())


def _as_text(value: str | float) -> str:
    # Quoted, a line end or a "=" that a stranger chose cannot pass for another field or line.
    text = _bounded(value, _VALUE) if isinstance(value, str) else str(value)
    return text if _PLAIN.fullmatch(text) else ascii(text)


def event(logger: logging.Logger, name: str, **fields: str | float) -> None:
    """Log at INFO that *name* has happened, with *fields* that machines can tell apart."""
    logger.info("%s %s", name, Fields(fields))


class TextFormatter(logging.Formatter):
    """`2026-01-31T12:00:00Z INFO gateway.app: message name=value`, times in UTC."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        time_ = self.formatTime(record, "%Y-%m-%dT%H:%M:%SZ")
        message = _bounded(record.getMessage(), _MESSAGE)
        line = f"{time_} {record.levelname} {record.name}: {message}"
        if record.exc_info:
            line += "\n" + _bounded(self.formatException(record.exc_info), _TRACE)
        return harmless_lines(line)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time`, `level`, `logger`, `message`, the fields of an event, and
    `error` with a trace."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            **_content(record),
        }
        if record.exc_info:
            line["error"] = _bounded(self.formatException(record.exc_info), _TRACE)
        return harmless(orjson.dumps(line).decode())


def _content(record: logging.LogRecord) -> dict[str, str | float]:
    match record.args:
        case (str(name), Fields() as fields):
            members = fields.items()
            shown = {
                one: _bounded(it, _VALUE) if isinstance(it, str) else it for one, it in members
            }
            return {"message": name, **shown}
    return {"message": _bounded(record.getMessage(), _MESSAGE)}


def configure(form: Literal["text", "json"], level: str) -> None:
    """Send every log line of the process to standard error in the given form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)


class RateLimitedLog:
    """Lets a line through at most once per *interval* seconds and counts those held back."""

    def __init__(self, interval: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = interval
        self._clock = clock
        self._next = float("-inf")
        self._held_back = 0

    def due(self) -> int | None:
        """How many lines were held back since the last one, or None when this one waits too."""
        now = self._clock()
        if now < self._next:
            self._held_back += 1
            return None
        self._next = now + self._interval
        held_back, self._held_back = self._held_back, 0
        return held_back

    def warning(self, logger: logging.Logger, message: str, *values: object) -> None:
        """Log a warning, unless this one waits; the line ends with how many were held back."""
        if (held_back := self.due()) is not None:
            logger.warning(f"{message} (%d more since the last line.)", *values, held_back)
