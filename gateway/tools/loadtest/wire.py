"""Reads an HTTP/1.1 answer, however its bytes were cut on their way.

Pure, and a parser of our own: a client session per tab costs more than the gateway under test, and
a load test must hold 10,000 tabs on one core. It reads what gateways and proxies send, one answer
a connection; it knows no redirects, no compression and no 1xx answers, and judges nothing.
"""

from typing import Protocol

from gateway.errors import GatewayError


class BrokenAnswer(GatewayError):
    """The bytes are no HTTP answer, or go on after its end; `str(error)` says which."""


class _Framing(Protocol):
    """How the body of an answer is delimited; `complete` once all of it was fed."""

    complete: bool

    def feed(self, data: bytes) -> bytes: ...

    def feed_eof(self) -> None: ...


class _Chunked:
    """Chunks, each passed on when it is whole: a gateway writes a frame, or several, as one."""

    __slots__ = ("_rest", "complete")

    def __init__(self) -> None:
        self.complete = False
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        buffer = self._rest + data if self._rest else data
        body: list[bytes] = []
        position = 0
        while (line_end := buffer.find(b"\r\n", position)) >= 0:
            size = _chunk_size(buffer[position:line_end])
            if size == 0:
                return b"".join(body) + self._end(buffer, position, line_end)
            begin, end = line_end + 2, line_end + 2 + size
            if len(buffer) < end + 2:
                break
            if buffer[end : end + 2] != b"\r\n":
                raise BrokenAnswer("a chunk of the answer is longer than it says")
            body.append(buffer[begin:end])
            position = end + 2
        self._rest = buffer[position:]
        return b"".join(body)

    def _end(self, buffer: bytes, position: int, line_end: int) -> bytes:
        """The last chunk, whose trailers (there are none as a rule) end with a blank line."""
        end = buffer.find(b"\r\n\r\n", line_end)
        if end < 0:
            self._rest = buffer[position:]
        else:
            self.complete = True
            self._rest = b""
            _refuse_more(buffer[end + 4 :])
        return b""

    def feed_eof(self) -> None:
        """The connection's end says nothing: only the last chunk completes the answer."""


class _Sized:
    """A body of known length: what an error answer has."""

    __slots__ = ("_left", "complete")

    def __init__(self, size: int) -> None:
        self._left = size
        self.complete = size == 0

    def feed(self, data: bytes) -> bytes:
        _refuse_more(data[self._left :])
        self._left -= len(data)
        self.complete = self._left == 0
        return data

    def feed_eof(self) -> None:
        """The connection's end says nothing: the length does."""


class _UntilClose:
    """A body that ends with the connection (HTTP/1.0), so that a cut one looks whole."""

    __slots__ = ("complete",)

    def __init__(self) -> None:
        self.complete = False

    def feed(self, data: bytes) -> bytes:
        return data

    def feed_eof(self) -> None:
        self.complete = True


class Answer:
    """One HTTP answer, fed with what the socket gives; `feed` returns the body's bytes in it.

    `status` is 0 until the head was read. `complete` once the body has ended as HTTP ends it.
    `closes` if the connection brings no other answer (RFC 9112, section 9.6).
    """

    __slots__ = ("_framing", "_head", "closes", "content_type", "status")

    def __init__(self) -> None:
        self.status = 0
        self.content_type = ""
        self.closes = False
        self._head = b""
        self._framing: _Framing | None = None

    @property
    def complete(self) -> bool:
        return self._framing is not None and self._framing.complete

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes of the connection.

        Raises:
            BrokenAnswer: they are not HTTP, or come after the end of the answer.
        """
        if self.complete:
            _refuse_more(data)
        if self._framing is not None:
            return self._framing.feed(data)
        head, blank_line, body = (self._head + data).partition(b"\r\n\r\n")
        if not blank_line:
            self._head += data
            return b""
        self._head = b""
        self._framing = self._read_head(head)
        return self._framing.feed(body)

    def feed_eof(self) -> None:
        """The connection has ended."""
        if self._framing is not None:
            self._framing.feed_eof()

    def _read_head(self, head: bytes) -> _Framing:
        status_line, *lines = head.decode("latin-1").split("\r\n")
        version, _, rest = status_line.partition(" ")
        if not version.startswith("HTTP/1.") or not rest[:3].isdecimal():
            raise BrokenAnswer("the answer is not HTTP/1; is the address right?")
        self.status = int(rest[:3])
        headers = {
            name.lower(): value.strip() for name, _, value in (s.partition(":") for s in lines)
        }
        self.closes = headers.get("connection", "").lower() == "close"
        self.content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return _Chunked()
        if headers.get("content-length", "").isdecimal():
            return _Sized(int(headers["content-length"]))
        return _UntilClose()


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    try:
        size = int(digits, 16)
    except ValueError:
        size = -1
    if size < 0:
        raise BrokenAnswer("the answer is not chunked as it says")
    return size


def _refuse_more(data: bytes) -> None:
    # Behind a proxy these would become the beginning of somebody else's answer.
    if data:
        raise BrokenAnswer("bytes follow after the end of the answer")
