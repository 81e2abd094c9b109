"""What each tab received, compared with what it had to receive. Pure: no I/O, no clock.

A tab must get every event of its own execution exactly once and in order, nothing of another, and
then the end, through all its reconnects.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

import orjson

from gateway.tools.loadtest.timeline import Latencies, Timeline
from gateway.tools.sse_parser import Frame

_TERMINAL_TYPE = "execution:completed"


class Sighting(NamedTuple):
    """One of our events as it reached a tab. `published_ns` is of the monotonic clock."""

    execution_id: str
    n: int
    published_ns: int


def type_of(n: int, last: int) -> str:
    """The type of event *n* of *last*."""
    if n == last:
        return _TERMINAL_TYPE
    return "step:completed" if n % 2 == 0 else "step:started"


def compose(execution_id: str, n: int, last: int, published_ns: int) -> bytes:
    """Event *n* of *last*; the last one ends the execution."""
    now = datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    data: dict[str, object] = {"execution_id": execution_id, "n": n, "published_ns": published_ns}
    if n == last:
        data |= {"status": "completed", "completed_at": now, "execution_time_ms": n}
    else:
        position = (n + 1) // 2
        data |= {
            "node_id": f"{execution_id}-node-{position}",
            "node_type": "load-test",
            "position": position,
            "started_at": now,
        }
    return orjson.dumps({"type": type_of(n, last), "data": data, "timestamp": now})


# Cached, since one event reaches many tabs.
@lru_cache(maxsize=1024)
def recognize(frame: Frame) -> Sighting | None:
    """What `compose` wrote; None if the event is of no load test, or damaged."""
    try:
        document = orjson.loads(frame.data)
        data = document["data"]
        sighting = Sighting(data["execution_id"], data["n"], data["published_ns"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    well_formed = (
        document.get("type") == frame.event
        and isinstance(sighting.execution_id, str)
        and isinstance(sighting.n, int)
        and isinstance(sighting.published_ns, int)
    )
    return sighting if well_formed else None


_ID = re.compile(r"(\d+)-(\d+)")


@dataclass(slots=True)
class Account:
    """The account of one tab, which must receive the events 1 to *expected* of its execution."""

    execution_id: str
    expected: int
    frozen: bool = False
    """It never reads and must receive nothing: it is there to disturb the others."""
    opened: bool = False
    ended: bool = False
    """The terminal event came, with or without the others, and then the end of the answer."""
    problem: str | None = None
    """Why the tab did not open or end."""
    received: int = 0
    duplicated: int = 0
    out_of_order: int = 0
    """Events that came after one with a higher number."""
    foreign: int = 0
    """Events of another execution, or none of ours at all."""
    misnumbered: int = 0
    """Ids that do not follow the one before, within one epoch of a history."""
    trimmed: int = 0
    """Events that a `stream:gap` reported as trimmed, for a page that was reloaded."""
    _lost_before: int = 0
    _next: int = 1
    _missing: set[int] | None = None
    _last_id: tuple[int, int] | None = None

    @property
    def lost(self) -> int:
        """Events that it did not receive and should have, those of earlier pages included."""
        return self._lost_before + (0 if self.frozen else self.expected - self.received)

    @property
    def has_last(self) -> bool:
        return self._next > self.expected

    def note(self, seen: Sighting | None, event_id: str | None = None) -> bool:
        """Count an event, None for one of no load test. True if it is new and ours."""
        if (
            seen is None
            or seen.execution_id != self.execution_id
            or not 1 <= seen.n <= self.expected
        ):
            self.foreign += 1
            return False
        self._note_id(event_id)
        if seen.n >= self._next:
            if seen.n > self._next:
                self._missing = self._missing or set()
                self._missing.update(range(self._next, seen.n))
            self._next = seen.n + 1
        elif self._missing and seen.n in self._missing:
            self._missing.remove(seen.n)
            self.out_of_order += 1
        else:
            self.duplicated += 1
            return False
        self.received += 1
        return True

    def _note_id(self, event_id: str | None) -> None:
        if event_id is None or (found := _ID.fullmatch(event_id)) is None:
            return
        before, self._last_id = self._last_id, (int(found[1]), int(found[2]))
        if before is not None and before[0] == self._last_id[0]:
            self.misnumbered += self._last_id[1] != before[1] + 1

    def reload(self) -> None:
        """Expect all events again: the page was reloaded, or the whole history follows
        (`stream:reset`)."""
        self._lost_before += len(self._missing or ())
        self.received = 0
        self._next, self._missing, self._last_id = 1, None, None

    def gap(self, missed: int, last_id: str | None = None) -> None:
        """The gateway reported that *missed* events, up to *last_id*, were trimmed. A new page may
        miss them; a page that had a cursor has lost them."""
        if last_id is not None and (found := _ID.fullmatch(last_id)) is not None:
            self._last_id = (int(found[1]), int(found[2]))
        if self._next == 1:
            missed = min(missed, self.expected)
            self.trimmed += missed
            self.received += missed
            self._next += missed


@dataclass(slots=True)
class Ledger:
    """All accounts of one run, and the counts over all of them."""

    accounts: Sequence[Account]
    timeline: Timeline = field(default_factory=Timeline)
    first: Latencies = field(default_factory=Latencies)
    """From the request to the first event of a stream, of every opening."""
    interruptions: Counter[str] = field(default_factory=Counter)
    """Why streams ended before their execution did."""
    open: int = 0
    """Streams that are open now."""
    received: int = 0
    """Events that reached a tab, duplicates excluded."""
    reconnects: int = 0
    reloads: int = 0
    resets: int = 0

    def note(
        self,
        account: Account,
        seen: Sighting | None,
        now_ns: int,
        event_id: str | None = None,
        opened_ns: int = 0,
    ) -> None:
        """Count an event that reached a tab at *now_ns* of the monotonic clock. One published
        before *opened_ns* was replayed: it has no latency."""
        if account.note(seen, event_id) and seen is not None:
            self.received += 1
            live = seen.published_ns >= opened_ns
            self.timeline.event(now_ns - seen.published_ns if live else None)
