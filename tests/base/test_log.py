"""Logs: one line an event, and never a token."""

import logging

import orjson
import pytest

from gateway.access.tokens import issue
from gateway.log import JsonFormatter, RateLimitedLog, TextFormatter, configure, event, redact
from tests.support import SECRET

TOKEN = issue(SECRET, organization_id="acme")

LEAKS = [
    f"GET /x?Authorization=Bearer%20{TOKEN}&organization_id=acme HTTP/1.1",
    f"GET /x?Authorization=Bearer+{TOKEN} HTTP/1.1",
    f"{{'Authorization': 'Bearer {TOKEN}'}}",
    f"Authorization: Bearer {TOKEN}",
    f"a token {TOKEN} in a sentence",
    f"bearer {TOKEN}",
    f"/x?ticket={TOKEN}",
    f"redis://user:{TOKEN}@localhost:6379/0",
]


# By number: the token is another one each second, and all workers of xdist need the same names.
@pytest.mark.parametrize("line", LEAKS, ids=range(len(LEAKS)))
def test_tokens_are_redacted(line: str) -> None:
    """No part of a token's payload or signature survives, wherever it is in the line."""
    _, payload, signature = TOKEN.split(".")
    shown = redact(line)
    assert payload not in shown
    assert signature not in shown


@pytest.mark.parametrize("secret", ["opaque-123", "s3cr3t"])
def test_opaque_credentials_are_redacted(secret: str) -> None:
    """Credentials that are not a JWT are removed too, and the text around them stays."""
    line = redact(f"GET /x?Authorization=Bearer%20{secret}&organization_id=acme HTTP/1.1")
    assert secret not in line
    assert line.endswith("&organization_id=acme HTTP/1.1")
    assert secret not in redact(f"redis://:{secret}@localhost/0")
    assert redact("redis://localhost:6379/0") == "redis://localhost:6379/0"


def record(message: str, error: Exception | None = None) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord("gateway.x", logging.WARNING, "", 0, message, (), info)


def test_json_lines() -> None:
    """As JSON each line is one object, exceptions and line ends included, tokens not."""
    line = JsonFormatter().format(record(f"two\nlines {TOKEN}", ValueError(TOKEN)))
    assert "\n" not in line
    assert TOKEN not in line
    document = orjson.loads(line)
    assert document["level"] == "warning"
    assert document["logger"] == "gateway.x"
    assert document["message"].startswith("two\nlines")
    assert "ValueError" in document["error"]
    assert document["time"].endswith("Z")
    assert "error" not in orjson.loads(JsonFormatter().format(record("well")))


def test_text() -> None:
    """As text a line begins with the UTC time and the level, and traces are redacted too."""
    line = TextFormatter().format(record("hello", ValueError(TOKEN)))
    assert " WARNING gateway.x: hello" in line
    assert "ValueError" in line
    assert TOKEN not in line


@pytest.mark.parametrize("form", ["text", "json"])
def test_configure(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Everything goes to standard error in the form that is set, from the level that is set."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    root.handlers = []
    try:
        configure(form, "warning")  # type: ignore[arg-type]
        logging.getLogger("x").info("silent")
        logging.getLogger("x").warning("heard %s", TOKEN)
    finally:
        root.handlers, root.level = handlers, level
    shown = capsys.readouterr().err
    assert "heard" in shown
    assert "silent" not in shown
    assert TOKEN not in shown
    assert shown.startswith("{") == (form == "json")


def test_sometimes() -> None:
    """A rate-limited line comes once an interval and says how many were suppressed."""
    now = [0.0]
    sometimes = RateLimitedLog(10, clock=lambda: now[0])
    assert [sometimes.due() for _ in range(4)] == [0, None, None, None]
    now[0] = 10.0
    assert [sometimes.due(), sometimes.due()] == [3, None]


@pytest.mark.parametrize("value", ["a b", "x=1", 'q"', "two\nlines", "\u2028", "ä", ""])
def test_fields(caplog: pytest.LogCaptureFixture, value: str) -> None:
    """An event's fields are members of the JSON object, and `name=value` in text, where what is no
    plain word is quoted: no value can pass for another field or another line."""
    caplog.set_level(logging.INFO)
    event(logging.getLogger("gateway.x"), "ended", path=value, token_like=TOKEN, seconds=1.5)
    [line] = caplog.records
    document = orjson.loads(JsonFormatter().format(line))
    assert (document["message"], document["path"], document["seconds"]) == ("ended", value, 1.5)
    text = TextFormatter().format(line)
    assert f" path={value!a} token_like=" in text
    assert text.endswith(" seconds=1.5")
    assert len(text.splitlines()) == 1
    for shown in (text, orjson.dumps(document).decode()):
        assert TOKEN.split(".")[1] not in shown


def test_plain_fields(caplog: pytest.LogCaptureFixture) -> None:
    """Ids, paths and words stand in text as they are."""
    caplog.set_level(logging.INFO)
    event(logging.getLogger("gateway.x"), "ended", path="/a/b-1_2:3.4", events=3)
    assert TextFormatter().format(caplog.records[0]).endswith(": ended path=/a/b-1_2:3.4 events=3")
