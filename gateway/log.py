"""The log: one line for each event, as text or JSON, and never a token.

Every line passes `redact`, with its exception: libraries log request lines, and the contract allows
tokens in the query.
"""

import logging
import re
import sys
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

import orjson

from gateway.harmless import harmless, harmless_lines

_VALUE = 512
"""Most characters of one field's value; an id, a path and an address are shorter."""

_MESSAGE = 8 * 1024
"""Most characters of a message, with all its fields."""

_TRACE = 16 * 1024
"""Most characters of an exception with its trace."""

_SCANNED = 64 * 1024
"""Most characters of a text that are scanned; a request line has 8 KiB."""

# Each takes linear time for any text: a match cannot start within the characters that a failed
# attempt has scanned, so no character is scanned twice by one pattern.
_SECRETS = (
    # Credentials in a query or a header, also when they are not a JWT.
    (re.compile(r"(?i)(authorization['\"]?\s*[=:]\s*['\"]?)(?:bearer(?:%20|\+|\s))?[^&\s'\"]+"),
     r"\1[redacted]"),
    (re.compile(r"(?i)\b(bearer(?:%20|\+|\s))[^&\s'\"]+"), r"\1[redacted]"),
    (re.compile(r"(?i)\b(ticket|token)=[^&\s'\"]+"), r"\1=[redacted]"),
    # The password in a URL of any scheme.
    (re.compile(r"(://[^/:@\s]*:)[^@/\s]+@"), r"\1[redacted]@"),
)  # fmt: skip

# A JWT anywhere: header and payload are base64url of `{"…`, so both start with eyJ. The match takes
# all that may belong to it, with a dot or without: a failed match would start again at each eyJ.
_JWT = re.compile(r"eyJ[\w.-]*")


def redact(text: str) -> str:
    """*text* without tokens, tickets and passwords, in linear time."""
    text = _JWT.sub(lambda found: "[redacted]" if "." in found[0] else found[0], text)
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def _bounded(text: str, most: int) -> str:
    """*text* redacted, without its middle if it has more than *most* characters.

    Redaction comes first: it would not recognize a part of a token.
    """
    length, beyond = len(text), len(text) > _SCANNED
    if beyond:
        # Cut at a space: the last word may be a part of a token.
        text = text[: max(0, text.rfind(" ", 0, _SCANNED))]
    text = redact(text)
    if len(text) <= most and not beyond:
        return text
    half = most // 2
    return f"{text[:half]}... ({length} characters) ...{'' if beyond else text[-half:]}"


# What no pattern above can match a part of, for all that it is short: each needs one of `. : = + %`
# or white space. Nearly all ids are so, and one look is ten times cheaper than the redaction.
_SIMPLE = re.compile(r"[\w-]{1,512}", re.ASCII)
_SIMPLE_LINE = re.compile(r"(?:[a-z_]+=(?:[\w-]{1,512}|\d+\.\d+)(?: |$))+", re.ASCII)

_PLAIN = re.compile(r"[\w./:@+-]+", re.ASCII)


class Fields(dict[str, str | float]):
    """The fields of a line, by name: `name=value` in text, members of the JSON object."""

    def __str__(self) -> str:
        text = " ".join([f"{name}={value}" for name, value in self.items()])
        # No value has a space where there are as many as this joins with.
        if text.count(" ") == len(self) - 1 and _SIMPLE_LINE.fullmatch(text):
            return text
        return " ".join(f"{name}={_as_text(value)}" for name, value in self.items())


def _as_text(value: str | float) -> str:
    # Quoted, so that an untrusted line end or "=" does not look like another field or line.
    text = _bounded(value, _VALUE) if isinstance(value, str) else str(value)
    return text if _PLAIN.fullmatch(text) else ascii(text)


def event(logger: logging.Logger, name: str, **fields: str | float) -> None:
    """Log at INFO that *name* has happened, with machine-readable *fields*."""
    logger.info("%s %s", name, Fields(fields))


@lru_cache(maxsize=1)
def _utc(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


class TextFormatter(logging.Formatter):
    """`2026-01-31T12:00:00Z INFO gateway.app: message name=value`, times in UTC."""

    def format(self, record: logging.LogRecord) -> str:
        if (found := _event_of(record)) is not None:
            # Each value is redacted there.
            message = f"{found[0]} {found[1]}"
        else:
            message = _bounded(record.getMessage(), _MESSAGE)
        line = f"{_utc(int(record.created))}Z {record.levelname} {record.name}: {message}"
        if record.exc_info:
            line += "\n" + _bounded(self.formatException(record.exc_info), _TRACE)
        return line if line.isprintable() else harmless_lines(line)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time`, `level`, `logger`, `message`, the fields of an event, and
    `error` with a trace."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": f"{_utc(int(record.created))}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            **_content(record),
        }
        if record.exc_info:
            line["error"] = _bounded(self.formatException(record.exc_info), _TRACE)
        return harmless(orjson.dumps(line).decode())


def _event_of(record: logging.LogRecord) -> tuple[str, Fields] | None:
    """Name and fields of a line that `event` logs."""
    args = record.args
    # Without a `match`, which takes half a microsecond more for each stream and request.
    if type(args) is tuple and len(args) == 2 and type(args[1]) is Fields:
        return str(args[0]), args[1]
    return None


def _content(record: logging.LogRecord) -> dict[str, str | float]:
    if (found := _event_of(record)) is None:
        return {"message": _bounded(record.getMessage(), _MESSAGE)}
    name, fields = found
    shown: dict[str, str | float] = {"message": name, **fields}
    texts = [value for value in fields.values() if isinstance(value, str)]
    # One look at all of them: together they are simple only if each one is.
    if not _SIMPLE.fullmatch("".join(texts)):
        shown |= {
            field: _bounded(value, _VALUE)
            for field, value in fields.items()
            if isinstance(value, str)
        }
    return shown


def configure(form: Literal["text", "json"], level: str) -> None:
    """Send every log line of the process to standard error in the given form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)


class RateLimitedLog:
    """Lets a line through at most once per *interval* seconds and counts the suppressed ones."""

    def __init__(self, interval: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = interval
        self._clock = clock
        self._next = float("-inf")
        self._suppressed = 0

    def due(self) -> int | None:
        """How many lines were suppressed since the last one, or None if this one is too."""
        now = self._clock()
        if now < self._next:
            self._suppressed += 1
            return None
        self._next = now + self._interval
        suppressed, self._suppressed = self._suppressed, 0
        return suppressed

    def warning(self, logger: logging.Logger, message: str, *values: object) -> None:
        """Log a warning, unless it is suppressed; the line ends with how many were."""
        if (suppressed := self.due()) is not None:
            logger.warning(f"{message} (%d more since the last line.)", *values, suppressed)
