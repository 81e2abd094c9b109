"""One browser tab: a bare `asyncio.Protocol` that asks for a stream and enters all it sees.

Bare, because an HTTP client's session, response and tasks per tab weigh more than the stream they
read. A tab decides when it has opened and ended; whether it got what it had to is the ledger's.
"""

import asyncio
import time
from typing import cast

import orjson

from gateway.loadtest.ledger import Account, Ledger
from gateway.loadtest.messages import recognize
from gateway.loadtest.wire import Answer, BrokenAnswer, EventStream, Frame
from gateway.log import redact

_LONGEST_REFUSAL = 64 * 1024


class Tab(asyncio.Protocol):
    """Sends *request* once connected. `opened` and `ended` come true in the end, come what may."""

    __slots__ = (
        "_account",
        "_answer",
        "_closing",
        "_ledger",
        "_refusal",
        "_request",
        "_stream",
        "_transport",
        "ended",
        "opened",
    )

    def __init__(self, request: bytes, account: Account, ledger: Ledger) -> None:
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self._account = account
        self._ledger = ledger
        self._request = request
        self._answer = Answer()
        self._stream = EventStream()
        self._refusal = b""
        self._closing: str | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)
        self._request = b""

    def data_received(self, data: bytes) -> None:
        now_ns = time.monotonic_ns()
        try:
            body = self._answer.feed(data)
        except BrokenAnswer as error:
            self.give_up(str(error))
            return
        if self._is_stream():
            for frame in self._stream.feed(body):
                self._take(frame, now_ns)
        else:
            self._refusal = (self._refusal + body)[:_LONGEST_REFUSAL]
        if self._answer.complete:
            self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        self._answer.feed_eof()
        self._finish()

    def give_up(self, trouble: str) -> None:
        """End the tab, if it has not ended yet, for the reason given."""
        if self.ended.done():
            return
        self._account.trouble = redact(trouble)
        self._end()

    def _is_stream(self) -> bool:
        return self._answer.status == 200 and self._answer.content_type == "text/event-stream"

    def _take(self, frame: Frame, now_ns: int) -> None:
        if frame.event == "connected":
            self._connected(frame)
        elif frame.event == "stream:closing":
            self._closing = _word(frame.data, "reason") or "no reason given"
        elif frame.event != "heartbeat":
            self._ledger.note(self._account, recognize(frame), now_ns)

    def _connected(self, frame: Frame) -> None:
        if _word(frame.data, "execution_id") != self._account.execution_id:
            self.give_up("the gateway opened the stream of another execution")
            return
        self._account.opened = True
        if not self.opened.done():
            self.opened.set_result(None)

    def _finish(self) -> None:
        """The answer or the connection has ended: find out whether that was the clean end."""
        if self.ended.done():
            return
        if not self._is_stream():
            self.give_up(self._refused())
        elif self._closing is not None:
            self.give_up(f"the gateway closed the stream early: {self._closing}")
        elif not self._answer.complete:
            self.give_up("the connection was cut before the end of the stream")
        elif not self._account.saw_last:
            self.give_up("the stream ended before its terminal event")
        else:
            self._account.ended = True
            self._end()

    def _refused(self) -> str:
        """What the answer was instead of a stream."""
        answer = self._answer
        if answer.status == 0:
            return "the connection was closed without an answer"
        if answer.status == 200:
            return f"the answer is {answer.content_type or 'of no type'}, not an event stream"
        message = _word(self._refusal, "message")
        return f"HTTP {answer.status}: {message}" if message else f"HTTP {answer.status}"

    def _end(self) -> None:
        for waited_for in (self.opened, self.ended):
            if not waited_for.done():
                waited_for.set_result(None)
        if self._transport is not None:
            self._transport.abort()
            self._transport = None


def _word(document: bytes, key: str) -> str | None:
    """The text under *key* of a JSON object, if it is one and has it."""
    try:
        value = orjson.loads(document)[key]
    except (orjson.JSONDecodeError, KeyError, TypeError, IndexError):
        return None
    return value if isinstance(value, str) else None
