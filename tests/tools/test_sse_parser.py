"""The parser of `tail`, `check` and the load test, with streams that the JavaScript client reads
too."""

import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.tools.sse_parser import EventStream, Frame
from tests.harness.sse import SseParser

_VECTORS = Path(__file__).parents[1] / "events" / "vectors" / "streams.jsonl"
VECTORS = [orjson.loads(line) for line in _VECTORS.read_bytes().splitlines()]


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def as_a_browser_sees(frames: list[Frame]) -> tuple[list[dict[str, Any]], int | None]:
    """The messages, each with the id that an EventSource has then, and the last `retry:`."""
    messages, last_event_id, retry_ms = [], "", None
    for frame in frames:
        last_event_id = last_event_id if frame.id is None else frame.id
        retry_ms = retry_ms if frame.retry_ms is None else frame.retry_ms
        if frame.event:
            data = frame.data.decode()
            message = {"event": frame.event, "data": data, "lastEventId": last_event_id}
            messages.append(message)
    return messages, retry_ms


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_every_rule_of_the_standard(size: int) -> None:
    """Each stream has its messages, ids and times wherever it is cut; the tests' own parser sees
    the same messages."""
    assert len(VECTORS) > 30
    for vector in VECTORS:
        stream, own = EventStream(), SseParser()
        cut = pieces(vector["stream"].encode(), size)
        seen = as_a_browser_sees([frame for piece in cut for frame in stream.feed(piece)])
        assert seen == (vector["messages"], vector["retry"]), vector["case"]
        by_own = [(one.event, one.data) for piece in cut for one in own.feed(piece)]
        expected = [(one["event"], one["data"]) for one in vector["messages"]]
        assert by_own == expected, vector["case"]


def test_a_cr_waits_for_nothing() -> None:
    """An event whose empty line is a CR is there at once; an LF after it is the same line end."""
    stream = EventStream()
    assert stream.feed(b"data: a\r\r") == [Frame("message", b"a", None)]
    assert stream.feed(b"\n") == []
    assert stream.feed(b"data: b\n") == []
    assert stream.feed(b"\n") == [Frame("message", b"b", None)]


def test_a_large_event_in_small_pieces() -> None:
    """Each byte is looked at once: 8 MiB in 1,400-byte pieces would otherwise take minutes."""
    stream = EventStream()
    data = b"data: " + b"x" * (8 * 1024 * 1024) + b"\n\n"
    began = time.process_time()
    frames = [frame for piece in pieces(data, 1400) for frame in stream.feed(piece)]
    assert time.process_time() - began < 2
    assert [len(frame.data) for frame in frames] == [8 * 1024 * 1024]
