"""The tests' own tools: a reader that is wrong about the standard would prove nothing."""

import pytest

from tests.harness.sse import Seen, SseParser, parse_sse

STREAM = (
    b"\xef\xbb\xbfretry: 1500\nevent: connected\ndata: {}\n\n"
    b": a comment\n\n"
    b"event: lines\r\ndata: one\r\ndata:two\r\ndata:  three\r\n\r\n"
    b"event: only-a-name\r\r"
    b"event\rdata\rid: 7-1\r\r"
    b"data: \xc3\xa9\xff\nid: bad\0\nretry: soon\nunknown: field\n\n"
    b"data: without its end\n"
)
EVENTS = [
    Seen("connected", "{}", retry=1500),
    Seen("lines", "one\ntwo\n three"),
    Seen("message", "", id="7-1"),
    Seen("message", "\u00e9\ufffd"),
]


def test_events() -> None:
    """Every rule of the standard: line ends, BOM, comments, empty and unknown fields, UTF-8."""
    assert parse_sse(STREAM) == EVENTS


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
def test_chunks(size: int) -> None:
    """Where the bytes are cut into chunks changes nothing."""
    parser = SseParser()
    chunks = [STREAM[start : start + size] for start in range(0, len(STREAM), size)]
    assert [seen for chunk in chunks for seen in parser.feed(chunk)] == EVENTS


def test_lone_cr_waits_for_nothing() -> None:
    """An event that ends in CR is dispatched at once, and an LF after it is no second line end."""
    parser = SseParser()
    assert parser.feed(b"data: a\r\r") == [Seen("message", "a")]
    assert parser.feed(b"\n") == []
    assert parser.feed(b"data: b\n\n") == [Seen("message", "b")]
