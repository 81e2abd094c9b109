"""One execution that is shown in a list: a subscriber follows it, as for a tab.

So holes, trimming, restarts, other epochs and changes of owner work as they do for a tab. The
subscriber has no reader, and does not count as a stream.
"""

import asyncio
import math
from collections.abc import Callable
from typing import Any

from gateway.bus.answers import Answers
from gateway.bus.trips import Trips
from gateway.contract.meta import META_FIELDS, RunMeta, read_meta
from gateway.errors import RedisUnavailable
from gateway.events.batch import EventBatch
from gateway.events.ending import EndingStatus, TerminalTypes, ending_of_type, parse_status
from gateway.events.ids import EventId, parse_id
from gateway.fanout.hub import Hub
from gateway.fanout.internal import InternalSubscriber, LocalTransport
from gateway.fanout.state import State
from gateway.lists.summary import RunSummary
from gateway.metrics import Metrics
from gateway.principal import Identity, Principal

_OWN_FIELDS = ("organization_id", "workflow_id", "bytes", "terminal", "terminal_type",
               "terminal_status")  # fmt: skip
FIELDS = (*_OWN_FIELDS, *META_FIELDS)

_WHOLE_BYTES = 256 * 1024
"""A larger history is not read from its beginning."""

_LATEST = 100
"""So many of its events are read instead."""

_WAITING_BYTES = 64 * 1024
"""Bytes that wait for the next tick at most."""

_NOBODY = Identity(subject="", organizations=None, expires_at=math.inf)

_UNCOUNTED = Metrics()

answers = Answers("What a list shows of")


class Follower(InternalSubscriber):
    """What it is given is delivered to nobody, and counted for nobody."""

    __slots__ = ("on_live",)

    is_counted = False
    on_live: Callable[[], None]

    def go_live(self, missed: list[EventBatch]) -> None:
        """All of history was given, perhaps without one event."""
        super().go_live(missed)
        self.on_live()

    @property
    def metrics(self) -> Metrics:
        return _UNCOUNTED


class About:
    """What `meta` says of an execution."""

    def __init__(self, answer: list[bytes | None]) -> None:
        own = [one.decode() if one is not None else None for one in answer[: len(_OWN_FIELDS)]]
        self.organization_id, self.workflow_id, size, terminal, kind, status = own
        self.bytes = int(size or 0)
        self.terminal = parse_id(terminal)
        self.terminal_type, self.terminal_status = kind or "", parse_status(status)
        self.run: RunMeta = read_meta(answer[len(_OWN_FIELDS) :])

    def ended_as(self, terminal_types: TerminalTypes) -> EndingStatus | None:
        """How it ended; None if it has not."""
        if self.terminal is None:
            return None
        return self.terminal_status or ending_of_type(self.terminal_type, terminal_types)

    @property
    def last(self) -> EventId | None:
        """The last event of its history."""
        epoch = next(reversed(self.run.epochs), None)
        return EventId(epoch, self.run.epochs[epoch]) if epoch is not None else None


class Fold:
    """The summary of one execution, kept current; call `open` first, and `close` at the end."""

    __slots__ = (
        "_about", "_broken", "_on_change", "_pending", "_pending_bytes", "_subscriber",
        "asked_at", "encoded", "execution_id", "hub", "is_current", "is_late", "is_opening",
        "organization_id", "run", "shown", "starts_over", "terminal_types", "workflow_id",
    )  # fmt: skip

    def __init__(
        self,
        organization_id: str,
        execution_id: str,
        hub: Hub,
        terminal_types: TerminalTypes,
        on_change: Callable[["Fold", bool], None],
    ) -> None:
        """*on_change* is called when something has come, with True if it should be shown at
        once."""
        self.organization_id = organization_id
        self.execution_id = execution_id
        self.hub = hub
        self.terminal_types = terminal_types
        self._on_change = on_change
        self.workflow_id: str | None = None
        """With which it was registered."""
        self.run: RunSummary | None = None
        self._about: About | None = None
        self._subscriber: Follower | None = None
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._broken = False
        self.is_opening = False
        self.is_current = False
        """All of its history was folded, once at least."""
        self.starts_over = False
        """What it has folded is not of this history: it must be opened again, with the counts of
        what is kept no longer."""
        self.is_late = False
        """Nobody waits for it any more: its history cannot be read."""
        self.asked_at = asyncio.get_running_loop().time()
        self.shown: dict[str, Any] | None = None
        self.encoded = b""
        """What is shown of it, and the same as JSON."""

    async def open(self, trips: Trips) -> About | None:
        """Follow it; the answer says whose it is. None: Redis could not be asked."""
        self.is_opening = True
        try:
            with answers.about(self.execution_id):
                about = About(await trips.ask_meta(self.execution_id, *FIELDS))
        except RedisUnavailable:
            self._broken = True
            return None
        finally:
            self.is_opening = False
        if about.organization_id == self.organization_id:
            self.follow(about)
        return about

    def follow(self, about: About) -> None:
        """Begin, with what *about* says."""
        self.stop()
        self._about, self._broken, self.starts_over = about, False, False
        self.workflow_id = about.workflow_id
        after = _begin(about)
        self.run = RunSummary(self.terminal_types, about.run, after)
        principal = Principal(self.execution_id, self.organization_id, _NOBODY)
        subscriber = Follower(principal, after, self.hub.log_of(self.execution_id))
        # Another history may be another organization's.
        subscriber.admitted_at = about.last
        subscriber.on_live = self._live
        self._subscriber = subscriber
        subscriber.attach(LocalTransport(self._take, self._ended), None, b"", 0, chunked=False)

    def _take(self, data: bytes) -> None:
        self._pending.append(data)
        self._pending_bytes += len(data)
        if self._pending_bytes > _WAITING_BYTES and self.run is not None:
            self.fold()
        self._on_change(self, False)

    def _live(self) -> None:
        self._on_change(self, not self.is_current)

    def _ended(self, whole: bool) -> None:
        self._broken = not whole
        self._on_change(self, True)

    def fold(self) -> str:
        """Fold what has come. Returns why it is to be shown no more; empty if it is."""
        data, self._pending, self._pending_bytes = b"".join(self._pending), [], 0
        if self.run is None:
            return ""
        gone = ""
        for notice in self.run.add(data):
            if notice.kind == "closing":
                if notice.reason in ("revoked", "forgotten"):
                    gone = notice.reason
                else:
                    self._broken = True
            elif notice.kind == "reset":
                self._broken = self.starts_over = True
        state = self._subscriber.state if self._subscriber is not None else State.CLOSED
        if state in (State.CLOSING, State.CLOSED) and not self._broken and not gone:
            self._end()
        if state is not State.CATCHING_UP and not self._broken:
            self.is_current = True
        return gone

    def _end(self) -> None:
        """All was given; the end itself may be kept no longer."""
        about = self._about
        status = about.ended_as(self.terminal_types) if about is not None else None
        if self.run is not None and about is not None and about.terminal and status:
            self.run.end(status, about.terminal)

    def compare(self, about: About, session: int) -> bool:
        """Compare with what *about* says, asked for in *session*; True if it must be opened again:
        it has ended and begun again, or something went wrong."""
        if self.run is None or self._broken:
            return True
        position, last = self.run.position, about.last
        # Counts from before the last event would be without it.
        if position is None or (last and last.is_at_or_after(position)):
            self.run.learn(about.run)
        subscriber = self._subscriber
        if subscriber is None or subscriber.state is State.CLOSED:
            return self.is_behind(about.last)
        self.hub.audit(self.execution_id, about.last, session)
        return False

    def is_behind(self, event_id: EventId | None) -> bool:
        """Whether it has ended, and *event_id* is of an epoch that has begun since."""
        subscriber = self._subscriber
        if event_id is None or (subscriber and subscriber.state is not State.CLOSED):
            return False
        known = [self.run.position if self.run is not None else None]
        known += [self._about.last if self._about is not None else None]
        return self.is_current and all(one is None or one.epoch != event_id.epoch for one in known)

    @property
    def is_settled(self) -> bool:
        """Nothing is under way that may change it without a new event."""
        return self.is_current or self._broken

    @property
    def bytes(self) -> int:
        """Memory that it takes, about."""
        return (self.run.bytes if self.run is not None else 0) + self._pending_bytes

    def stop(self) -> None:
        """Follow it no longer."""
        subscriber, self._subscriber = self._subscriber, None
        self._pending, self._pending_bytes = [], 0
        # Nothing is under way: else it would keep its place among those that are opened.
        self._broken = True
        if subscriber is not None:
            subscriber.leave()


def _begin(about: About) -> EventId | None:
    """After which event to read; None for all of history."""
    last, end = about.last, about.terminal
    if about.bytes <= _WHOLE_BYTES or last is None:
        return None
    if end is not None:
        if end.epoch != last.epoch:
            return None
        last = min(last, end)
    return EventId(last.epoch, last.seq - _LATEST) if last.seq > _LATEST else None
