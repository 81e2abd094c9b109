"""Requests that hide another one, for a proxy and a server that disagree about where one ends."""

from tests.harness.raw import GET, HEALTH

HIDDEN_PATH = "/api/v1/sse/hidden"
HIDDEN = f"GET {HIDDEN_PATH} HTTP/1.1\r\nHost: gateway\r\n\r\n"
_POST = f"POST {HEALTH} HTTP/1.1\r\nHost: gateway\r\n"
_CHUNKED = "Transfer-Encoding: chunked\r\n"
_SIZE = f"{len(HIDDEN):x}"
_CHUNK = f"{_SIZE}\r\n{HIDDEN}\r\n0\r\n\r\n"
"""The hidden request as a chunk: it is a request to a parser that overlooks Transfer-Encoding."""

ATTACKS = {
    "CL.TE": f"{_POST}Content-Length: {len(HIDDEN) + 5}\r\n{_CHUNKED}\r\n0\r\n\r\n{HIDDEN}",
    "TE.CL": f"{_POST}{_CHUNKED}Content-Length: {len(_SIZE) + 2}\r\n\r\n{_CHUNK}",
    "CL.0": f"{_POST}Content-Length: {len(HIDDEN)}\r\n\r\n{HIDDEN}",
    "GET body": f"{GET}Content-Length: {len(HIDDEN)}\r\n\r\n{HIDDEN}",
    "GET chunked": f"{GET}{_CHUNKED}\r\n{_CHUNK}",
    "two lengths": f"{GET}Content-Length: 0\r\nContent-Length: {len(HIDDEN)}\r\n\r\n{HIDDEN}",
    "listed lengths": f"{_POST}Content-Length: 0, {len(HIDDEN)}\r\n\r\n{HIDDEN}",
    "signed length": f"{_POST}Content-Length: +{len(HIDDEN)}\r\n\r\n{HIDDEN}",
    "xchunked": f"{_POST}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{HIDDEN}",
    "identity": f"{_POST}Transfer-Encoding: identity\r\n\r\n0\r\n\r\n{HIDDEN}",
    "two codings": f"{_POST}{_CHUNKED}Transfer-Encoding: x\r\n\r\n0\r\n\r\n{HIDDEN}",
    "listed codings": f"{_POST}Transfer-Encoding: chunked, x\r\n\r\n0\r\n\r\n{HIDDEN}",
    "space before colon": f"{_POST}Transfer-Encoding : chunked\r\n\r\n{_CHUNK}",
    "tab before value": f"{_POST}Content-Length: 0\r\nTransfer-Encoding:\tchunked\r\n\r\n{_CHUNK}",
    "folded": f"{_POST}X: y\r\n {_CHUNKED}\r\n{_CHUNK}",
    "bare LF": f"{_POST}X: y\n{_CHUNKED}Content-Length: 3\r\n\r\n{_CHUNK}",
    "bare CR": f"{_POST}X: y\r{_CHUNKED}\r\n{_CHUNK}",
    "NUL": f"{_POST}X: y\0{_CHUNKED}\r\n{_CHUNK}",
    "bad chunk size": f"{_POST}{_CHUNKED}\r\n0x{_SIZE}\r\n{HIDDEN}\r\n0\r\n\r\n",
    "huge chunk size": f"{_POST}{_CHUNKED}\r\n1{'0' * 16}\r\n{HIDDEN}\r\n0\r\n\r\n",
    "HTTP/1.0 chunked": f"{_POST.replace('1.1', '1.0')}Connection: keep-alive\r\n{_CHUNKED}\r\n"
    f"0\r\n\r\n{HIDDEN}",
    "two hosts": f"{GET}Host: other\r\nContent-Length: {len(HIDDEN)}\r\n\r\n{HIDDEN}",
    "expectation": f"{_POST}Expect: x\r\nContent-Length: {len(HIDDEN)}\r\n\r\n{HIDDEN}",
}
"""Each has one outer request. What a well-behaved server may take for a second one, as after a
complete chunked body, is none of them."""

DIRECT_ATTACKS = {
    **ATTACKS,
    "LF after chunk size": f"{_POST}{_CHUNKED}\r\n0\n\n{HIDDEN}",
    "HTTP/0.9": f"GET {HEALTH}\r\n\r\n{HIDDEN}",
}
"""Those too that nginx is lenient about: it takes a lone LF for the end of a line, so that what
follows is an open request to it, and it speaks HTTP/0.9. Neither does harm behind it, since it
passes on each request in words of its own; the gateway does not count on that."""
