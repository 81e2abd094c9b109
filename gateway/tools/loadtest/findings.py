"""The outcome of a load test, summed up from its ledger. Pure."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.tools.loadtest.ledger import Ledger
from gateway.tools.loadtest.timeline import Sample

_FORM = re.compile(r"(?P<name>p50|p95|p99|max|first)=(?P<number>\d+(?:\.\d+)?)(?P<unit>ms|s)")


@dataclass(frozen=True, slots=True)
class Slo:
    """The most that a figure may be."""

    text: str
    name: str
    """`p50`, `p95`, `p99` or `max` of the latency; `first`: of 99 in 100 openings."""
    most_ms: float

    @classmethod
    def parse(cls, text: str) -> "Slo":
        """From `p99=250ms` or `first=1.5s`.

        Raises:
            ValueError: it is not of that form.
        """
        if (found := _FORM.fullmatch(text)) is None:
            raise ValueError(f"{text} is no objective: write one like p99=250ms or first=1.5s.")
        factor = 1000.0 if found["unit"] == "s" else 1.0
        return cls(text, found["name"], float(found["number"]) * factor)

    def is_met(self, latency_ms: Mapping[str, float], first_ms: Mapping[str, float]) -> bool:
        """Whether the figures keep to it. Where nothing was measured, nothing is shown to."""
        found = first_ms["p99"] if self.name == "first" else latency_ms[self.name]
        return 0 < found <= self.most_ms


@dataclass(frozen=True, slots=True)
class Findings:
    """The outcome of a load test; as JSON it is what `--json` prints. Counts are over all tabs."""

    ok: bool
    """Every tab opened; each but the frozen ones got exactly its events in order, and ended; and
    every objective was kept to."""
    tabs: int
    frozen: int
    """Tabs that never read, of which nothing is expected but that they open."""
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
    misnumbered: int
    """Ids that do not follow the one before."""
    trimmed: int
    """Events that history no longer kept for a page that was loaded anew."""
    reconnects: int
    reloads: int
    resets: int
    """Times a stream was told (`stream:reset`) that its history has begun anew."""
    opening_seconds: float
    publishing_seconds: float
    storm_seconds: float | None
    """From the moment when all tabs were dropped until the last one was back."""
    latency_ms: dict[str, float]
    """From PUBLISH to the tab: `p50`, `p95`, `p99`, `max`; of events published while it was
    open."""
    first_event_ms: dict[str, float]
    """From the request to the stream's first event, of every opening."""
    objectives: dict[str, bool]
    """Each `--slo`, and whether it was kept to."""
    interruptions: dict[str, int]
    """Why streams ended early, most frequent first; each came back, or is among the troubles."""
    troubles: dict[str, int]
    """Why tabs did not open or end, with the number of tabs, most frequent first."""
    own_cpu_seconds: float
    """What the load test itself has used."""
    own_kib_per_tab: float
    """Memory by which the load test itself grew."""
    timeline: Sequence[Sample]


@dataclass(frozen=True, slots=True)
class Course:
    """What the ledger cannot know: how the run went. Times in seconds."""

    published: int
    unheard: int
    opening_seconds: float
    publishing_seconds: float
    storm_seconds: float | None = None
    own_cpu_seconds: float = 0.0
    own_kib_per_tab: float = 0.0


def sum_up(ledger: Ledger, course: Course, slos: Sequence[Slo] = ()) -> Findings:
    """The sum of all accounts."""
    judged = [account for account in ledger.accounts if not account.frozen]
    latency_ms, first_ms = ledger.timeline.total.summary(), ledger.first.summary()
    objectives = {slo.text: slo.is_met(latency_ms, first_ms) for slo in slos}
    counts = {
        name: sum(getattr(account, name) for account in ledger.accounts)
        for name in ("lost", "duplicated", "out_of_order", "foreign", "misnumbered")
    }
    # Frozen ones too: readers that were refused have put nobody to the test.
    opened = sum(account.opened for account in ledger.accounts)
    ended = sum(account.ended for account in judged)
    troubles = Counter(account.problem for account in ledger.accounts if account.problem)
    return Findings(
        ok=opened == len(ledger.accounts)
        and ended == len(judged)
        and not any(counts.values())
        and all(objectives.values()),
        tabs=len(ledger.accounts),
        frozen=len(ledger.accounts) - len(judged),
        opened=opened,
        ended=ended,
        published=course.published,
        unheard=course.unheard,
        expected=sum(account.expected for account in judged),
        received=sum(account.received for account in judged),
        **counts,
        trimmed=sum(account.trimmed for account in ledger.accounts),
        reconnects=ledger.reconnects,
        reloads=ledger.reloads,
        resets=ledger.resets,
        opening_seconds=round(course.opening_seconds, 3),
        publishing_seconds=round(course.publishing_seconds, 3),
        storm_seconds=course.storm_seconds,
        latency_ms=latency_ms,
        first_event_ms=first_ms,
        objectives=objectives,
        interruptions=dict(ledger.interruptions.most_common()),
        troubles=dict(troubles.most_common()),
        own_cpu_seconds=round(course.own_cpu_seconds, 3),
        own_kib_per_tab=round(course.own_kib_per_tab, 1),
        timeline=ledger.timeline.samples,
    )
