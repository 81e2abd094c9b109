"""What is not parsed twice is what cannot be wrong."""

import asyncio
from collections.abc import Sequence

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.http.screen import Parsed, Screen
from tests.http.test_malformed_requests import MALFORMED

_BODY = b"1\r\nx\r\n0\r\n\r\n"
_PATH = "/api/v1/sse/executions/run-1/stream"
_TARGETS = st.sampled_from(
    [_PATH, f"{_PATH}?a=b&c=%20", "/", "//x", "/a" * 15, "/a" * 70, "*", "http://x/", "/#a", "/é"]
)
_NAMES = [
    *("Accept", "User-Agent", "user-agent", "Host", "host", "Origin", "Cookie", "Content-Length"),
    *("Transfer-Encoding", "Connection", "Upgrade", "Expect", "Content-Type", "X-Request-ID"),
    *("Sec-WebSocket-Key1", "Last-Event-ID", "Sec-Fetch-Mode", "Authorization\t", "X:"),
]
_VALUES = st.sampled_from(
    ["", "x", "a b", "5", "chunked", "close", "gzip", "websocket", "x ", "\tx", "\x00", "\x7f", "é"]
)
_LINES = st.lists(st.tuples(st.sampled_from(_NAMES), _VALUES).map(": ".join), max_size=6)
_ENDS = st.sampled_from(["\r\n\r\n", "\n\n", "\r\n", "", "\r\n\r\nGET / HTTP/1.1\r\n", "\r\n\r\nx"])


@given(
    st.sampled_from(["GET", "POST", "get", "HEAD", "CONNECT"]),
    _TARGETS,
    st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/2.0"]),
    _LINES,
    _ENDS,
)
@example("GET", _PATH, "HTTP/1.1", ["User-Agent: x", "Cookie: a=b; c"], "\r\n\r\n")
@example("GET", _PATH, "HTTP/1.1", ["Accept: x", "User-Agent: x", "user-agent: y"], "\r\n\r\n")
@example("GET", _PATH, "HTTP/1.1", ["host: y"], "\r\n\r\n")
@example("GET", "/a" * 70, "HTTP/1.1", [], "\r\n\r\n")
@example("GET", _PATH, "HTTP/1.1", ["Transfer-Encoding: chunked"], "\r\n\r\n")
@example("GET", _PATH, "HTTP/1.1", ["Content-Length: 11"], "\r\n\r\n")
@example("POST", _PATH, "HTTP/1.1", ["Content-Length: 1", "Content-Type: x"], "\r\n\r\nx")
def test_the_short_cut_says_what_the_parser_says(
    method: str, target: str, version: str, lines: Sequence[str], end: str
) -> None:
    """For any request, well-formed or not, after which more may come."""
    head = [f"{method} {target} {version}", "Host: x", *lines]
    _compare("\r\n".join(head).encode() + end.encode())


def test_the_same_for_malformed_requests() -> None:
    """And for requests of one byte more or less than those that are well."""
    plain = f"GET {_PATH}?a=b HTTP/1.1\r\nHost: x\r\nAccept: a\r\nUser-Agent: b\r\n\r\n".encode()
    assert _compare(plain) == Parsed(1, len(plain))
    call = (
        b"POST /api/v1/sse/executions/run-1/events HTTP/1.1\r\nHost: x\r\n"
        b"Content-Type: application/json\r\nContent-Length: 2\r\nUser-Agent: b\r\n\r\n{}"
    )
    assert _compare(call) == Parsed(1, len(call))
    assert _compare(call.replace(b"User-Agent: b", b"Content-type: text/plain")).fault is not None
    for request in MALFORMED:
        _compare(request[:8192])
    for well in (plain, call):
        for at in range(len(well)):
            _compare(well[:at] + well[at + 1 :])
            for one in (b"\r", b"\n", b" ", b":", b"\0", b"\xff", b"x"):
                _compare(well[:at] + one + well[at:])


def _compare(piece: bytes) -> Parsed:
    loop = asyncio.new_event_loop()
    try:
        parsing = Screen(loop, publish=True)
        # No request: from now on it parses.
        parsing.feed(b"")
        screen = Screen(loop, publish=True)
        found = screen.feed(piece)
        assert found == parsing.feed(piece)
        if found.fault is None:
            # A body for those that have announced one, and no request.
            assert screen.feed(_BODY) == parsing.feed(_BODY)
        return found
    finally:
        loop.close()
