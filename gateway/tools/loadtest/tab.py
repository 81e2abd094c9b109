"""One browser tab: a bare `asyncio.Protocol` that asks for a stream and enters all it sees.

Bare, because an HTTP client's session, response and tasks per tab weigh more than the stream they
read. Like an EventSource it keeps the last id and `retry:`, and comes back with them when its
stream ends early; who connects it is `gateway.tools.loadtest.opening`. Whether it got what it had
to is the ledger's.
"""

import asyncio
import time
from collections.abc import Callable
from typing import cast

import orjson

from gateway.log import redact
from gateway.tools.loadtest.ledger import Account, Ledger, recognize
from gateway.tools.loadtest.plan import Habit
from gateway.tools.loadtest.wire import Answer, BrokenAnswer
from gateway.tools.sse_parser import EventStream, Frame

DEFAULT_RETRY = 3.0
"""Seconds until an EventSource comes back that was told nothing else (Chromium's)."""

_LONGEST_REFUSAL = 64 * 1024
_STILL_OPEN = "the stream was still open when the load test gave up"


class Tab(asyncio.Protocol):
    """Reads one stream after the other until its execution has ended, or it is given up."""

    __slots__ = (
        "_account", "_answer", "_asked_ns", "_closing", "_come_back", "_ledger", "_loop",
        "_opened_ns", "_refusal", "_request", "_retry", "_stream", "_transport", "_wants_reload",
        "_was_dropped", "cursor", "ended", "habit", "is_open", "opened", "why_away",
    )  # fmt: skip

    def __init__(
        self,
        request: Callable[[str, str], bytes],
        account: Account,
        ledger: Ledger,
        come_back: Callable[["Tab", float], None],
        habit: Habit = "reads",
    ) -> None:
        """*request* is what to send for an execution and a cursor. *come_back* is asked to connect
        the tab anew after so many seconds. `opened` and `ended` come true in the end."""
        self._loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = self._loop.create_future()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self.habit: Habit = habit
        self.cursor = ""
        """The last id, with which it comes back."""
        self.is_open = False
        """Its stream has begun, and not ended."""
        self.why_away = ""
        """Why its last stream ended early."""
        self._account = account
        self._ledger = ledger
        self._request = request
        self._come_back = come_back
        self._retry = DEFAULT_RETRY
        self._transport: asyncio.Transport | None = None
        self._wants_reload = False
        self._begin()

    def _begin(self) -> None:
        self._answer = Answer()
        self._stream = EventStream()
        self._refusal = b""
        self._closing: str | None = None
        self._was_dropped = False
        self._asked_ns = self._opened_ns = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self.ended.done():
            cast(asyncio.Transport, transport).abort()
            return
        self._begin()
        self._transport = cast(asyncio.Transport, transport)
        self._asked_ns = time.monotonic_ns()
        self._transport.write(self._request(self._account.execution_id, self.cursor))

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
        elif self.habit != "reads" and self.is_open and self._transport is not None:
            self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._answer.feed_eof()
        self._finish()

    def not_connected(self, why: str) -> None:
        """It could not connect: the end of a tab that never was open, else a passing trouble, after
        which an EventSource waits as after any other."""
        if self._account.opened and not self.ended.done():
            self._away(why)
        else:
            self.give_up(why)

    def read_on(self) -> None:
        """A slow tab's turn to read what the system has kept for it."""
        if self._transport is not None:
            self._transport.resume_reading()

    def reload(self) -> None:
        """Load the page anew: without a cursor, and at once."""
        if self.is_open and not self.ended.done():
            self._wants_reload = True
            self.drop()

    def drop(self) -> None:
        """Cut the connection, as a network does that is switched."""
        self._was_dropped = True
        if self._transport is not None:
            self._transport.abort()

    def give_up(self, problem: str | None = None) -> None:
        """End the tab, if it has not ended yet, for the reason given, or because time is over."""
        if self.ended.done():
            return
        if problem is None:
            away = f"the stream did not come back: {self.why_away}" if self.why_away else ""
            problem = _STILL_OPEN if self.is_open or not away else away
        if not (self._account.frozen and self._account.opened):
            self._account.problem = redact(problem)
        self._end()

    def _is_stream(self) -> bool:
        return self._answer.status == 200 and self._answer.content_type == "text/event-stream"

    def _take(self, frame: Frame, now_ns: int) -> None:
        if frame.retry_ms is not None:
            self._retry = frame.retry_ms / 1000
        match frame.event:
            case "connected":
                self._connected(frame, now_ns)
            case "stream:closing":
                self._closing = _text(frame.data, "reason") or "no reason given"
            case "stream:gap":
                missed = _member(frame.data, "missed")
                self._account.gap(missed if isinstance(missed, int) else 0, _text(frame.data, "to"))
            case "stream:reset":
                self.cursor = ""
                self._account.reload()
                self._ledger.resets += 1
            case "heartbeat" | "stream:expiring":
                pass
            case _:
                if frame.id is not None:
                    self.cursor = frame.id
                # A slow reader's delays are its own.
                counted_from = self._opened_ns if self.habit == "reads" else now_ns
                self._ledger.note(self._account, recognize(frame), now_ns, frame.id, counted_from)

    def _connected(self, frame: Frame, now_ns: int) -> None:
        if _text(frame.data, "execution_id") != self._account.execution_id:
            self.give_up("the gateway opened the stream of another execution")
            return
        self._opened_ns = now_ns
        self._ledger.first.note(now_ns - self._asked_ns)
        self._ledger.open += 1
        self.is_open = True
        if self._account.opened:
            self._ledger.reconnects += 1
            self._ledger.timeline.reconnect()
        self._account.opened = True
        if not self.opened.done():
            self.opened.set_result(None)

    def _finish(self) -> None:
        """The answer or the connection has ended: was that the end, or does it come back?"""
        if self.is_open:
            self.is_open = False
            self._ledger.open -= 1
        if self.ended.done():
            return
        transport, self._transport = self._transport, None
        if transport is not None:
            # Its `connection_lost` brings it here again, and then it is over.
            transport.abort()
            return
        if self._account.frozen and self._account.opened:
            self._end()
        elif self._answer.complete and self._account.saw_last and self._answer.status in (200, 204):
            self._account.ended = True
            self._end()
        elif self._is_refused():
            self.give_up(self._refused())
        elif self._wants_reload:
            self._load_anew()
        else:
            self._away(self._why())

    def _is_refused(self) -> bool:
        """Whether this was an EventSource's last attempt: an answer that is no stream is. None at
        all is a broken network, which it outlives; a gateway that was never there is none."""
        return not self._is_stream() and (self._answer.status != 0 or not self._account.opened)

    def _away(self, why: str) -> None:
        self.why_away = why
        self._ledger.interruptions[why] += 1
        self._come_back(self, self._retry)

    def _load_anew(self) -> None:
        self._wants_reload = False
        self.cursor = ""
        self._account.reload()
        self._ledger.reloads += 1
        self._come_back(self, 0.0)

    def _why(self) -> str:
        if self._was_dropped:
            return "the load test dropped all streams at once"
        if self._answer.status == 0:
            return self._refused()
        if self._closing is not None:
            return f"the gateway closed the stream early: {self._closing}"
        if not self._answer.complete:
            return "the connection was cut before the end of the stream"
        return "the stream ended before its terminal event"

    def _refused(self) -> str:
        """What the answer was instead of a stream."""
        answer = self._answer
        if answer.status == 0:
            return "the connection was closed without an answer"
        if answer.status == 200:
            return f"the answer is {answer.content_type or 'of no type'}, not an event stream"
        message = _text(self._refusal, "message")
        return f"HTTP {answer.status}: {message}" if message else f"HTTP {answer.status}"

    def _end(self) -> None:
        for waited_for in (self.opened, self.ended):
            if not waited_for.done():
                waited_for.set_result(None)
        if self.is_open:
            self.is_open = False
            self._ledger.open -= 1
        if self._transport is not None:
            self._transport.abort()
            self._transport = None


def _member(document: bytes, key: str) -> object:
    """What stands under *key* of a JSON object, if it is one and has it."""
    try:
        value: object = orjson.loads(document)[key]
    except (orjson.JSONDecodeError, KeyError, TypeError, IndexError):
        return None
    return value


def _text(document: bytes, key: str) -> str | None:
    value = _member(document, key)
    return value if isinstance(value, str) else None
