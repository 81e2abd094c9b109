"""The parser of a tab: whatever cuts the bytes, it reads what the gateway wrote."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.tools.loadtest.wire import Answer, BrokenAnswer
from gateway.tools.sse_parser import EventStream, Frame

HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
FRAMES = [
    Frame("", b"", None, 1000),
    Frame("connected", b'{"execution_id":"a"}', None),
    Frame("step:started", '{"n":1,"text":"olá ☃"}'.encode(), "1795377945746-1"),
    Frame("message", b"two\nlines", None),
    Frame("execution:completed", b"{}", "1795377945746-2"),
]


def encode(frames: list[Frame], line_end: bytes = b"\n") -> bytes:
    """A stream as a server writes it, comments, `retry:` and blocks without data included."""
    lines = [b": a comment", b"event: without data", b""]
    for frame in frames:
        if frame.retry_ms is not None:
            lines += [b"retry: %d" % frame.retry_ms, b""]
            continue
        if frame.id is not None:
            lines.append(b"id: " + frame.id.encode())
        if frame.event != "message":
            lines.append(b"event:" + frame.event.encode())
        lines += [b"data: " + line for line in frame.data.split(b"\n")]
        lines.append(b"")
    return line_end.join((*lines, b""))


def chunk(body: bytes, sizes: list[int]) -> bytes:
    """*body* in chunks of these sizes, in turn, and the last chunk."""
    out: list[bytes] = []
    position = 0
    while position < len(body):
        piece = body[position : position + sizes[len(out) % len(sizes)]]
        out.append(b"%x\r\n%b\r\n" % (len(piece), piece))
        position += len(piece)
    return b"".join((*out, b"0\r\n\r\n"))


def cut(data: bytes, at: list[int]) -> list[bytes]:
    """*data* in pieces that begin at these positions."""
    borders = [0, *sorted({position % (len(data) + 1) for position in at}), len(data)]
    return [data[a:b] for a, b in pairwise(borders)]


def read(pieces: list[bytes]) -> tuple[Answer, list[Frame]]:
    answer, stream = Answer(), EventStream()
    return answer, [frame for piece in pieces for frame in stream.feed(answer.feed(piece))]


@given(
    at=st.lists(st.integers(0, 2000), max_size=30),
    sizes=st.lists(st.integers(1, 200), min_size=1, max_size=5),
    line_end=st.sampled_from([b"\n", b"\r\n", b"\r"]),
)
def test_any_cut_gives_the_same_events(at: list[int], sizes: list[int], line_end: bytes) -> None:
    """However the bytes are chunked, cut and ended as lines, the same events come out."""
    wire = HEAD + chunk(encode(FRAMES, line_end), sizes)
    answer, frames = read(cut(wire, at))
    assert frames == FRAMES
    assert (answer.status, answer.content_type) == (200, "text/event-stream")
    assert answer.complete


def test_an_event_comes_with_its_last_byte() -> None:
    """Fed byte by byte, an event is there with the byte that completes it, and no sooner."""
    after_it = b"\r\n0\r\n\r\n"
    wire = HEAD + chunk(encode(FRAMES[:1]), [1])
    answer, stream = Answer(), EventStream()
    arrivals = [
        position
        for position in range(len(wire))
        if stream.feed(answer.feed(wire[position : position + 1]))
    ]
    assert arrivals == [len(wire) - len(after_it) - 1]
    assert answer.complete


def test_chunk_extensions_and_trailers_are_skipped() -> None:
    """A chunk's extension and the trailers after the last chunk are no part of the body."""
    body = encode(FRAMES[:1])
    wire = HEAD + b"%x;name=value\r\n%b\r\n0\r\nX-Trailer: 1\r\n\r\n" % (len(body), body)
    for position in range(len(wire)):
        answer, frames = read([wire[:position], wire[position:]])
        assert frames == FRAMES[:1]
        assert answer.complete


def test_an_answer_of_known_length_is_complete_with_its_last_byte() -> None:
    """An error answer ends with its length, not with the connection."""
    answer = Answer()
    assert answer.feed(b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nab") == b"ab"
    answer.feed_eof()
    assert not answer.complete
    assert answer.feed(b"cde") == b"cde"
    assert (answer.status, answer.complete) == (404, True)


def test_an_answer_without_length_ends_with_the_connection() -> None:
    """An HTTP/1.0 proxy's stream is complete when the connection is."""
    answer, frames = read([b"HTTP/1.0 200 OK\r\n\r\n" + encode(FRAMES)])
    assert frames == FRAMES
    assert not answer.complete
    answer.feed_eof()
    assert answer.complete


@pytest.mark.parametrize(
    ("wire", "words"),
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 abc\r\n\r\n", "not HTTP"),
        (HEAD + b"zz\r\n", "not as its headers say"),
        (HEAD + b"-1\r\n", "not as its headers say"),
        (HEAD + b"1\r\nabc", "not as its headers say"),
        (HEAD + b"0\r\n\r\nevent: late", "after the end"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab", "after the end"),
        (HEAD + b"0\r\n\r\n" + HEAD, "after the end"),
        (b"HTTP/1.1 204 No Content\r\n\r\nevent: late", "after the end"),
        (b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: a\r\n\r\nb", "after the end"),
    ],
)
def test_broken_answers_are_told(wire: bytes, words: str) -> None:
    """What is not an answer, or goes on after its end, is an error that says so."""
    with pytest.raises(BrokenAnswer, match=words):
        Answer().feed(wire)


def test_bytes_after_the_end_are_told_when_they_come_later_too() -> None:
    """Bytes behind a finished answer are refused although the answer itself was whole."""
    answer, _ = read([HEAD + b"0\r\n\r\n"])
    with pytest.raises(BrokenAnswer, match="after the end"):
        answer.feed(b"5\r\nhello\r\n")
