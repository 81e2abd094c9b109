"""What a stranger's words cost in the log: time linear to their length, and a bounded line."""

import gc
import logging
import time
from collections.abc import Callable, Iterator

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.tokens import issue
from gateway.log import Fields, JsonFormatter, TextFormatter, redact
from tests.support import SECRET

TOKEN = issue(SECRET, organization_id="acme")
SIZE = 8 * 1024
"""Characters: as long as a request line may be."""

ALPHABETS = [
    *("eyJ", "eyJeyJ.", "eyJ.", "eyJ-_", "z", "é", ".", "-", "_", "a.", "%65yJ", "%", "%20", "+"),
    *("a://", "://", ":", "a:", "a://b:", "a://:", "a://b:c", "a://b:c@", "@", "/", "//", "://:@"),
    *("bearer", "bearer ", "Bearer%20", "bearer+", "bearer bearer:", " ", "\t", "\n", "\r\n", "\0"),
    *("authorization", "authorization ", "authorization=", "authorization:  ", "authorization' "),
    *("token", "token=", "token=token=", "ticket=", "ticket=&", "=", "&", "a=b&", "'", '"', "'\""),
    *("aA0", "\\", "{", "\u2028", "\U0001f600", "\u017f", "\u0130"),
]

_FORMATTERS = [TextFormatter(), JsonFormatter()]


def _message(text: str) -> logging.LogRecord:
    return logging.LogRecord("gateway.x", logging.INFO, "", 0, "A %s failed.", (text,), None)


def _field(text: str) -> logging.LogRecord:
    fields = Fields(remote=text, method=text, path=text, request_id=text, execution_id=text)
    return logging.LogRecord("gateway.x", logging.INFO, "", 0, "%s %s", ("request", fields), None)


def _trace(text: str) -> logging.LogRecord:
    error = ValueError(text)
    info = (ValueError, error, None)
    return logging.LogRecord("gateway.x", logging.ERROR, "", 0, "It failed.", (), info)


RECORDS = [_message, _field, _trace]


def _seconds(text: str) -> float:
    """CPU seconds of this thread to redact *text*, the least of several times."""

    def once() -> float:
        began = time.thread_time()
        redact(text)
        return time.thread_time() - began

    return min(once() for _ in range(3))


@pytest.fixture(autouse=True, scope="module")
def _no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("alphabet", ALPHABETS)
def test_redaction_is_linear(alphabet: str) -> None:
    """Twice the text costs less than three times the CPU, also in front of something that ends a
    match or prevents one."""
    for end in ("", " ", "@"):
        half, whole = [(alphabet * n)[:n] + end for n in (8 * SIZE, 16 * SIZE)]
        shorter, longer = _seconds(half), _seconds(whole)
        assert longer < 3 * shorter, f"{alphabet!r} before {end!r}: {shorter} s, {longer} s"


def _cost(formatter: logging.Formatter, line: logging.LogRecord) -> float:
    began = time.thread_time()
    formatter.format(line)
    return time.thread_time() - began


@pytest.mark.parametrize("alphabet", ALPHABETS)
@pytest.mark.parametrize("formatter", _FORMATTERS)
def test_line_is_bounded(formatter: logging.Formatter, alphabet: str) -> None:
    """A line with 8 KiB of a stranger's words costs less than 30 ms of CPU, one with 160 KiB less
    than 100 ms, and both are short."""
    for record in RECORDS:
        for size, seconds in ((SIZE, 0.03), (20 * SIZE, 0.1)):
            line = record((alphabet * size)[:size])
            assert len(formatter.format(line)) < 100 * 1024
            # The least of several: on a busy machine the same work takes twice the CPU time.
            assert min(_cost(formatter, line) for _ in range(5)) < seconds


@pytest.mark.parametrize("formatter", _FORMATTERS)
def test_long_values_show_how_long_they_were(formatter: logging.Formatter) -> None:
    """A value that is cut keeps its beginning and its end, and says how long it was."""
    line = formatter.format(_field("/begin/" + "x" * SIZE + "/end"))
    assert "/begin/" in line
    assert "/end" in line
    assert f"({SIZE + 11} characters)" in line


# The text before and after a token in a line.
_AROUND = st.text(st.sampled_from("ab /.:=&'\"?\n"), max_size=3)
_BEFORE = ("", "bearer ", "Authorization: Bearer ", "token=", "?Authorization=Bearer%20", "r://u:")


@given(
    st.sampled_from([100, 511, 8 * 1024, 64 * 1024]),
    st.integers(-700, 100),
    st.sampled_from(["x", "x ", "xyz/", "eyJ", "eyJ.", " "]),
    st.sampled_from(_BEFORE),
    _AROUND,
    st.sampled_from(RECORDS),
    st.sampled_from(_FORMATTERS),
)
def test_no_part_of_a_token_survives_the_cut(
    bound: int,
    offset: int,
    filling: str,
    before: str,
    behind: str,
    record: Callable[[str], logging.LogRecord],
    formatter: logging.Formatter,
) -> None:
    """Wherever a token lies to the places where values are cut, no eight characters of its payload
    and its signature are shown."""
    begin = max(0, bound + offset)
    text = (filling * begin)[:begin] + before + TOKEN + behind + "x" * 70_000
    line = formatter.format(record(text))
    line = orjson.dumps(orjson.loads(line)).decode() if line.startswith("{") else line
    for part in TOKEN.split(".")[1:]:
        pieces = {part[at : at + 8] for at in range(len(part) - 7)}
        assert not [piece for piece in pieces if piece in line]
