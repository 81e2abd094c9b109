"""The outcome of a load test, computed from its ledger. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from gateway.tools.loadtest.ledger import Ledger
from gateway.tools.loadtest.plan import Slo
from gateway.tools.loadtest.timeline import Sample


@dataclass(frozen=True, slots=True)
class RunStats:
    """What the ledger cannot know. Times in seconds."""

    published: int
    unheard: int
    """Published events that reached no subscription at all."""
    opening_seconds: float
    publishing_seconds: float
    storm_seconds: float | None = None
    """From the moment when all tabs were dropped until the last one was back."""
    own_cpu_seconds: float = 0.0
    """What the load test itself has used."""
    own_kib_per_tab: float = 0.0
    """Memory by which the load test itself grew."""


@dataclass(frozen=True, slots=True)
class Findings:
    """The outcome of a load test; as JSON it is what `--json` prints. Counts are over all tabs."""

    ok: bool
    """Every tab opened; each but the frozen ones got exactly its events in order, and ended; and
    every objective was met."""
    tabs: int
    frozen: int
    """Tabs that never read, of which nothing is expected but that they open."""
    opened: int
    ended: int
    published: int
    unheard: int
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
    """Events that history no longer had for a page that was reloaded."""
    reconnects: int
    reloads: int
    resets: int
    """How often a `stream:reset` told a stream that a new epoch of its history began."""
    opening_seconds: float
    publishing_seconds: float
    storm_seconds: float | None
    latency_ms: dict[str, float]
    """From PUBLISH to the tab: `p50`, `p95`, `p99`, `max`; of events published while the stream
    was open."""
    first_event_ms: dict[str, float]
    """From the request to the stream's first event, of every opening."""
    objectives: dict[str, bool]
    """Each `--slo`, and whether it was met."""
    interruptions: dict[str, int]
    """Why streams ended early, most frequent first; each reconnected, or is in `troubles`."""
    troubles: dict[str, int]
    """Why tabs did not open or end, with the number of tabs, most frequent first."""
    own_cpu_seconds: float
    own_kib_per_tab: float
    timeline: Sequence[Sample]


def sum_up(ledger: Ledger, stats: RunStats, slos: Sequence[Slo] = ()) -> Findings:
    """The findings over all accounts."""
    accounts = ledger.accounts
    reading = [account for account in accounts if not account.frozen]
    latency_ms, first_ms = ledger.timeline.total.summary(), ledger.first.summary()
    objectives = {slo.text: slo.is_met(latency_ms, first_ms) for slo in slos}
    faults = {
        name: sum(getattr(account, name) for account in accounts)
        for name in ("lost", "duplicated", "out_of_order", "foreign", "misnumbered")
    }
    # Frozen ones too: if they were refused, they did not load the gateway.
    opened = sum(account.opened for account in accounts)
    ended = sum(account.ended for account in reading)
    problems = Counter(account.problem for account in accounts if account.problem)
    return Findings(
        ok=opened == len(accounts)
        and ended == len(reading)
        and not any(faults.values())
        and all(objectives.values()),
        tabs=len(accounts),
        frozen=len(accounts) - len(reading),
        opened=opened,
        ended=ended,
        expected=sum(account.expected for account in reading),
        received=sum(account.received for account in reading),
        **faults,
        trimmed=sum(account.trimmed for account in accounts),
        reconnects=ledger.reconnects,
        reloads=ledger.reloads,
        resets=ledger.resets,
        latency_ms=latency_ms,
        first_event_ms=first_ms,
        objectives=objectives,
        interruptions=dict(ledger.interruptions.most_common()),
        troubles=dict(problems.most_common()),
        timeline=ledger.timeline.samples,
        **asdict(stats),
    )


def describe_result(findings: Findings) -> str:
    """The result in one sentence."""
    if findings.ok:
        met = " Every objective was met." if findings.objectives else ""
        return f"Every tab got each of its events once and in order.{met}"
    if missed := [text for text, met in findings.objectives.items() if not met]:
        return f"Missed: {', '.join(missed)}."
    return "Not every tab got each of its events once and in order."
