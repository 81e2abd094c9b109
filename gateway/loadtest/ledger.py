"""What each tab saw, held against what it had to see. Pure: no I/O, no clock.

A tab must get every event of its own execution exactly once and in order, nothing of another, and
then the end. It does not know how events are published or read.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.loadtest.messages import Sighting


@dataclass(slots=True)
class Account:
    """The account of one tab, which has to see the events 1 to *expected* of *execution_id*."""

    execution_id: str
    expected: int
    opened: bool = False
    ended: bool = False
    """The terminal event came, all others or not, and then the clean end of the answer."""
    trouble: str | None = None
    """Why the tab did not open or end, in words."""
    received: int = 0
    duplicated: int = 0
    out_of_order: int = 0
    """Events that came after one with a higher number."""
    foreign: int = 0
    """Events of another execution, or none of ours at all."""
    _next: int = 1
    _missing: set[int] = field(default_factory=set)

    @property
    def lost(self) -> int:
        return self.expected - self.received

    @property
    def saw_last(self) -> bool:
        return self._next > self.expected

    def note(self, seen: Sighting | None) -> bool:
        """Enter an event; None for one that is not of this test. True if it is new and ours."""
        if (
            seen is None
            or seen.execution_id != self.execution_id
            or not 1 <= seen.n <= self.expected
        ):
            self.foreign += 1
            return False
        if seen.n >= self._next:
            self._missing.update(range(self._next, seen.n))
            self._next = seen.n + 1
        elif seen.n in self._missing:
            self._missing.remove(seen.n)
            self.out_of_order += 1
        else:
            self.duplicated += 1
            return False
        self.received += 1
        return True


class Latencies:
    """Counts of durations in buckets a hundredth apart, so that a long run needs no more memory."""

    _STEP = math.log(1.01)

    def __init__(self) -> None:
        self.count = 0
        self._max_ns = 0
        self._buckets: Counter[int] = Counter()

    def note(self, ns: int) -> None:
        """Enter one duration in nanoseconds."""
        self.count += 1
        self._max_ns = max(self._max_ns, ns)
        self._buckets[math.ceil(math.log(max(ns, 1)) / self._STEP)] += 1

    def percentile_ms(self, share: float) -> float:
        """The duration that *share* (0 to 1) of all do not exceed, in ms, to one hundredth."""
        left = math.ceil(share * self.count)
        for bucket in sorted(self._buckets):
            left -= self._buckets[bucket]
            if left <= 0:
                return min(math.exp(bucket * self._STEP), self._max_ns) / 1e6
        return 0.0

    def summary(self) -> dict[str, float]:
        """`p50`, `p99` and `max`, in ms."""
        return {
            "p50": round(self.percentile_ms(0.5), 3),
            "p99": round(self.percentile_ms(0.99), 3),
            "max": round(self._max_ns / 1e6, 3),
        }


@dataclass(frozen=True, slots=True)
class Findings:
    """The outcome of a load test; as JSON it is what `--json` prints. Counts are over all tabs."""

    ok: bool
    """Every tab opened, got exactly its events in order, and ended."""
    tabs: int
    opened: int
    ended: int
    published: int
    unheard: int
    """Published events that reached no subscription at all."""
    expected: int
    """Deliveries that had to happen: one event to three tabs counts three."""
    received: int
    lost: int
    duplicated: int
    out_of_order: int
    foreign: int
    opening_seconds: float
    publishing_seconds: float
    latency_ms: dict[str, float]
    """From PUBLISH to the tab: `p50`, `p99`, `max`."""
    troubles: dict[str, int]
    """Why tabs did not open or end, with the number of tabs, most frequent first."""


class Ledger:
    """All accounts of one run."""

    def __init__(self, accounts: Sequence[Account]) -> None:
        self.accounts = accounts
        self.latencies = Latencies()

    def note(self, account: Account, seen: Sighting | None, now_ns: int) -> None:
        """Enter an event that reached a tab at *now_ns* of the monotonic clock."""
        if account.note(seen) and seen is not None:
            self.latencies.note(now_ns - seen.published_ns)

    def findings(
        self,
        *,
        published: int,
        unheard: int,
        opening_seconds: float,
        publishing_seconds: float,
    ) -> Findings:
        """The sum of all accounts."""
        accounts = self.accounts
        opened = sum(account.opened for account in accounts)
        ended = sum(account.ended for account in accounts)
        lost = sum(account.lost for account in accounts)
        duplicated = sum(account.duplicated for account in accounts)
        out_of_order = sum(account.out_of_order for account in accounts)
        foreign = sum(account.foreign for account in accounts)
        faults = lost + duplicated + out_of_order + foreign
        troubles = Counter(account.trouble for account in accounts if account.trouble)
        return Findings(
            ok=opened == ended == len(accounts) and faults == 0,
            tabs=len(accounts),
            opened=opened,
            ended=ended,
            published=published,
            unheard=unheard,
            expected=sum(account.expected for account in accounts),
            received=sum(account.received for account in accounts),
            lost=lost,
            duplicated=duplicated,
            out_of_order=out_of_order,
            foreign=foreign,
            opening_seconds=round(opening_seconds, 3),
            publishing_seconds=round(publishing_seconds, 3),
            latency_ms=self.latencies.summary(),
            troubles=dict(troubles.most_common()),
        )
