"""One browser tab: an `asyncio.Protocol` that opens a stream and counts what it receives.

An HTTP client's session, response and tasks per tab would cost more than the stream itself. Like an
EventSource a tab keeps the last id and `retry:`, and reconnects with them when its stream ends
early.
"""

import asyncio
import time
from collections.abc import Callable
from typing import cast

from gateway.events.json_edit import parse_object
from gateway.log import redact
from gateway.tools.loadtest.ledger import Account, Ledger, recognize
from gateway.tools.loadtest.plan import Habit
from gateway.tools.loadtest.wire import Answer, BrokenAnswer
from gateway.tools.sse_parser import EventStream, Frame

DEFAULT_RETRY = 3.0
"""Seconds until an EventSource reconnects without a `retry:` (Chromium's)."""

_LONGEST_REFUSAL = 64 * 1024
_STILL_OPEN = "the stream was still open when the load test gave up"


class Tab(asyncio.Protocol):
    """Reads one stream after the other until its execution has ended, or it is given up."""

    __slots__ = (
        "_account", "_answer", "_closing", "_ledger", "_opened_ns", "_reconnect", "_refusal",
        "_reloads", "_request", "_requested_ns", "_retry", "_stream", "_transport",
        "_was_dropped", "cursor", "ended", "habit", "interruption", "is_open", "opened",
    )  # fmt: skip

    def __init__(
        self,
        request: Callable[[str, str], bytes],
        account: Account,
        ledger: Ledger,
        reconnect: Callable[["Tab", float], None],
        habit: Habit = "reads",
    ) -> None:
        """*request* is what to send for an execution and a cursor. *reconnect* connects the tab
        again after so many seconds. `opened` and `ended` are always done in the end."""
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.habit: Habit = habit
        self.cursor = ""
        """The last id, with which it reconnects."""
        self.is_open = False
        self.interruption = ""
        """Why its last stream ended early."""
        self._account = account
        self._ledger = ledger
        self._request = request
        self._reconnect = reconnect
        self._retry = DEFAULT_RETRY
        self._transport: asyncio.Transport | None = None
        self._reloads = False
        self._reset()

    def _reset(self) -> None:
        self._answer = Answer()
        self._stream = EventStream()
        self._refusal = b""
        self._closing: str | None = None
        self._was_dropped = False
        self._requested_ns = self._opened_ns = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self.ended.done():
            cast(asyncio.Transport, transport).abort()
            return
        self._reset()
        self._transport = cast(asyncio.Transport, transport)
        self._requested_ns = time.monotonic_ns()
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
        """It could not connect: a tab that was never open ends, another one retries."""
        if self._account.opened and not self.ended.done():
            self._interrupted(why)
        else:
            self.give_up(why)

    def read_on(self) -> None:
        """Let a slow tab read once more."""
        if self._transport is not None:
            self._transport.resume_reading()

    def reload(self) -> None:
        """Reload the page: reconnect at once and without a cursor."""
        if self.is_open and not self.ended.done():
            self._reloads = True
            self.drop()

    def drop(self) -> None:
        """Cut the connection, as when a laptop changes its network."""
        self._was_dropped = True
        if self._transport is not None:
            self._transport.abort()

    def give_up(self, problem: str | None = None) -> None:
        """End the tab, if it has not ended yet, because of *problem* or of the timeout."""
        if self.ended.done():
            return
        if problem is None:
            problem = _STILL_OPEN
            if self.interruption and not self.is_open:
                problem = f"the stream did not come back: {self.interruption}"
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
                missed = parse_object(frame.data).get("missed")
                self._account.gap(missed if isinstance(missed, int) else 0, _text(frame.data, "to"))
            case "stream:reset":
                self.cursor = ""
                self._account.reload()
                self._ledger.resets += 1
            case "heartbeat" | "stream:expiring":
                pass
            case "":
                self.cursor = self.cursor if frame.id is None else frame.id
            case _:
                if frame.id is not None:
                    self.cursor = frame.id
                # A slow tab causes its delays itself, so it has no latencies.
                opened_ns = self._opened_ns if self.habit == "reads" else now_ns
                self._ledger.note(self._account, recognize(frame), now_ns, frame.id, opened_ns)

    def _connected(self, frame: Frame, now_ns: int) -> None:
        if _text(frame.data, "execution_id") != self._account.execution_id:
            self.give_up("the gateway opened the stream of another execution")
            return
        self._opened_ns = now_ns
        self._ledger.first.note(now_ns - self._requested_ns)
        self._ledger.open += 1
        self.is_open = True
        if self._account.opened:
            self._ledger.reconnects += 1
            self._ledger.timeline.reconnect()
        self._account.opened = True
        if not self.opened.done():
            self.opened.set_result(None)

    def _finish(self) -> None:
        """The answer or the connection has ended: end the tab, or reconnect."""
        if self.is_open:
            self.is_open = False
            self._ledger.open -= 1
        if self.ended.done():
            return
        transport, self._transport = self._transport, None
        if transport is not None:
            # Then `connection_lost` calls this method again.
            transport.abort()
            return
        if self._account.frozen and self._account.opened:
            self._end()
        elif self._answer.complete and self._account.has_last and self._answer.status in (200, 204):
            self._account.ended = True
            self._end()
        elif self._is_refused():
            self.give_up(self._describe_refusal())
        elif self._reloads:
            self._reload_page()
        else:
            self._interrupted(self._describe_end())

    def _is_refused(self) -> bool:
        """Whether an EventSource would stop here: it does after an answer that is no stream, and
        not when the network fails. A gateway that never answered counts as refusing too."""
        return not self._is_stream() and (self._answer.status != 0 or not self._account.opened)

    def _interrupted(self, why: str) -> None:
        self.interruption = why
        self._ledger.interruptions[why] += 1
        self._reconnect(self, self._retry)

    def _reload_page(self) -> None:
        self._reloads = False
        self.cursor = ""
        self._account.reload()
        self._ledger.reloads += 1
        self._reconnect(self, 0.0)

    def _describe_end(self) -> str:
        if self._was_dropped:
            return "the load test dropped all streams at once"
        if self._answer.status == 0:
            return self._describe_refusal()
        if self._closing is not None:
            return f"the gateway closed the stream early: {self._closing}"
        if not self._answer.complete:
            return "the connection was cut before the end of the stream"
        return "the stream ended before its terminal event"

    def _describe_refusal(self) -> str:
        answer = self._answer
        if answer.status == 0:
            return "the connection was closed without an answer"
        if answer.status == 200:
            return f"the answer is {answer.content_type or 'of no type'}, not an event stream"
        message = _text(self._refusal, "message")
        return f"HTTP {answer.status}: {message}" if message else f"HTTP {answer.status}"

    def _end(self) -> None:
        for future in (self.opened, self.ended):
            if not future.done():
                future.set_result(None)
        if self.is_open:
            self.is_open = False
            self._ledger.open -= 1
        if self._transport is not None:
            self._transport.abort()
            self._transport = None


def _text(document: bytes, key: str) -> str | None:
    value = parse_object(document).get(key)
    return value if isinstance(value, str) else None
