"""Reads one HTTP/1.1 answer with httptools, in pieces of any size.

A client session per tab costs more than the gateway under test: a load test must hold 10,000 tabs
on one core. There are no redirects and no compression here.
"""

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from gateway.errors import GatewayError


class BrokenAnswer(GatewayError):
    """The bytes are no HTTP answer, or go on after its end; `str(error)` says which."""


class Answer:
    """One HTTP answer, fed with what the socket gives; `feed` returns the body's bytes in it.

    `status` is 0 until the head was read. `complete` once the body has ended as HTTP ends it.
    `closes` if the connection brings no other answer (RFC 9112, section 9.6).
    """

    __slots__ = ("_is_sized", "_parser", "_pieces", "closes", "complete", "content_type",
                 "on_body", "status")  # fmt: skip

    def __init__(self) -> None:
        self.status = 0
        self.content_type = ""
        self.closes = False
        self.complete = False
        self._is_sized = False
        self._pieces: list[bytes] = []
        # httptools calls every method of this object that is named on_...
        self.on_body = self._pieces.append
        self._parser = HttpResponseParser(self)

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes of the connection.

        Raises:
            BrokenAnswer: they are not HTTP, or come after the end of the answer.
        """
        pieces = self._pieces
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            raise BrokenAnswer(self._describe(error)) from None
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        return body

    def feed_eof(self) -> None:
        """The connection has ended: so has a body that neither a length nor chunks delimit."""
        self.complete = self.complete or (self.status != 0 and not self._is_sized)

    def on_message_begin(self) -> None:
        """Called by httptools for each answer, and there is only one."""
        if self.complete:
            raise BrokenAnswer

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by httptools for each header."""
        match name.lower():
            case b"content-type":
                self.content_type = value.partition(b";")[0].strip().lower().decode("latin-1")
            case b"connection":
                self.closes = value.strip().lower() == b"close"
            case b"content-length" | b"transfer-encoding":
                self._is_sized = True

    def on_headers_complete(self) -> None:
        """Called by httptools."""
        self.status = self._parser.get_status_code()

    def on_message_complete(self) -> None:
        """Called by httptools, at the end of the body."""
        self.complete = True

    def _describe(self, error: Exception) -> str:
        if self.complete:
            # Behind a proxy these would become the beginning of somebody else's answer.
            return "bytes follow after the end of the answer"
        if not self.status:
            return "the answer is not HTTP/1; is the address right?"
        return f"the answer's body is not as its headers say: {error}"
