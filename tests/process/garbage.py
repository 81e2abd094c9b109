"""Connections on which something else than a request comes, by name, and a client that opens them.

The client blocks and keeps nothing, so that thousands of connections take seconds.
"""

import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from itertools import cycle, islice

from gateway.http.screen import PIECE_BYTES
from tests.harness.raw import GET, HEALTH, STREAM, reset_on_close

_STREAM = f"GET {STREAM}?organization_id=acme&token=nonsense HTTP/1.1\r\nHost: gateway\r\n"
_LAST = "Host: gateway\r\nConnection: close\r\n"
_CHUNKED = f"POST {HEALTH} HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n"


class End(Enum):
    """What the client does once all is sent."""

    WAIT = 1
    """It reads until the gateway ends the connection."""
    LEAVE = 2
    """It closes the connection at once."""
    RESET = 3
    """It resets the connection with the first byte of the answer."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """What is sent, and what then."""

    data: bytes
    end: End = End.WAIT


def _text(text: str, end: End = End.WAIT) -> Garbage:
    return Garbage(text.encode("latin-1"), end)


def _filled(beginning: str) -> str:
    """A request with *beginning* that is as long as what the gateway parses at once."""
    return f"{beginning}X: {'y' * (PIECE_BYTES - len(beginning) - 7)}\r\n\r\n"


KINDS = {
    "A": _text("A" * 256 * 1024),
    "A, then reset": _text("A" * 256 * 1024, End.RESET),
    "A, then left": _text("A" * 256 * 1024, End.LEAVE),
    "header without colon": _text(f"{GET}Bad Header\r\n\r\n"),
    "header, then reset": _text(f"{GET}Bad Header\r\n\r\n", End.RESET),
    "header, then left": _text(f"{GET}Bad Header\r\n\r\n", End.LEAVE),
    "chunk": _text(f"{_CHUNKED}\r\nzz\r\n\r\n", End.LEAVE),
    "half a request": _text(GET, End.LEAVE),
    "long line": _text(f"GET /{'x' * 100_000} HTTP/1.1\r\nHost: x\r\n\r\n"),
    "long header": _text(f"{GET}X: {'y' * 100_000}\r\n\r\n"),
    "long headers": _text(GET + "".join(f"X{n}: {'y' * 8000}\r\n" for n in range(20)) + "\r\n"),
    "many headers": _text(GET + "".join(f"X{n}: y\r\n" for n in range(500)) + "\r\n"),
    "method": _text(f"G{{T {HEALTH} HTTP/1.1\r\nHost: x\r\n\r\n"),
    "NUL": Garbage(b"\0" * 8192),
    "lines": Garbage(b"\r\n" * 128 * 1024),
    "after a good one": _text(f"{GET}\r\n{'A' * 20_000}", End.RESET),
    "behind a good one": _text(f"{_filled(GET)}{'A' * 200_000}"),
    "behind a stream": _text(f"{_filled(_STREAM)}{'A' * 20_000}"),
    "behind a stream, then reset": _text(f"{_filled(_STREAM)}{'A' * 20_000}", End.RESET),
    "behind a stream, then left": _text(f"{_filled(_STREAM)}{'A' * 20_000}", End.LEAVE),
    "chunk behind its request": _text(f"{_filled(_CHUNKED)}zz\r\n\r\n", End.LEAVE),
    "HTTP/2": Garbage(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\x12\4" + bytes(60)),
    "TLS": Garbage(b"\x16\3\1\2\0\1\0\1\xfc\3\3" + bytes(500)),
    "upgrade": _text(f"{GET}Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n{'A' * 20_000}"),
    "unknown path": _text(f"GET /nope HTTP/1.1\r\n{_LAST}\r\n"),
    "unknown method": _text(f"BREW {HEALTH} HTTP/1.1\r\n{_LAST}\r\n"),
    "wrong method": _text(f"POST {HEALTH} HTTP/1.1\r\n{_LAST}\r\n"),
    "expectation": _text(f"GET {HEALTH} HTTP/1.1\r\n{_LAST}Expect: x\r\n\r\n"),
    "body of a GET": _text(f"GET {HEALTH} HTTP/1.1\r\n{_LAST}Content-Length: 1\r\n\r\nx"),
    "large body": _text(
        f"POST {HEALTH} HTTP/1.1\r\n{_LAST}Content-Length: 9999\r\n\r\nx", End.LEAVE
    ),
    "body that never comes": _text(
        f"POST {HEALTH} HTTP/1.1\r\n{_LAST}Content-Length: 9\r\n\r\nx", End.LEAVE
    ),
    "no token": _text(f"GET {STREAM} HTTP/1.1\r\n{_LAST}\r\n"),
    "HTTP/1.0": _text(f"GET {STREAM} HTTP/1.0\r\n\r\n"),
    "nothing": Garbage(b"", End.LEAVE),
}


def open_bad(host: str, port: int, garbage: Garbage) -> bytes:
    """Send *garbage* on a connection of its own; what was answered, if its end was awaited."""
    with socket.create_connection((host, port), timeout=15) as connection:
        answer = b""
        # The gateway may have ended the connection before all was sent.
        with suppress(ConnectionError):
            connection.sendall(garbage.data)
        with suppress(ConnectionError):
            while garbage.end is not End.LEAVE and (data := connection.recv(65536)):
                answer += data
                if garbage.end is End.RESET:
                    reset_on_close(connection)
                    break
        return answer


def open_many(host: str, port: int, count: int) -> None:
    """*count* connections, one after the other, of all kinds in turn."""
    for garbage in _in_turn(count):
        open_bad(host, port, garbage)


def _in_turn(count: int) -> Iterator[Garbage]:
    return islice(cycle(KINDS.values()), count)
