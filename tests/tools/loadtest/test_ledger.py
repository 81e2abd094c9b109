"""The ledger: every fault is counted as what it is, and nothing else is."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.tools.loadtest.findings import Findings, RunStats, sum_up
from gateway.tools.loadtest.ledger import Account, Ledger, Sighting, compose, recognize
from gateway.tools.loadtest.plan import Slo
from gateway.tools.loadtest.timeline import Latencies
from gateway.tools.sse_parser import Frame


def faults(seen: list[int], expected: int = 5) -> tuple[int, int, int, int]:
    """Lost, duplicated, out of order and foreign after these numbers were seen."""
    account = Account("own", expected)
    for n in seen:
        account.note(Sighting("own", n, 0))
    return account.lost, account.duplicated, account.out_of_order, account.foreign


@pytest.mark.parametrize(
    ("seen", "found"),
    [
        ([1, 2, 3, 4, 5], (0, 0, 0, 0)),
        ([], (5, 0, 0, 0)),
        ([1, 2, 4, 5], (1, 0, 0, 0)),
        ([2, 3, 4, 5], (1, 0, 0, 0)),
        ([1, 2, 3], (2, 0, 0, 0)),
        ([1, 2, 2, 3, 4, 5], (0, 1, 0, 0)),
        ([1, 2, 3, 4, 5, 1], (0, 1, 0, 0)),
        ([1, 3, 2, 4, 5], (0, 0, 1, 0)),
        ([5, 4, 3, 2, 1], (0, 0, 4, 0)),
        ([1, 4, 2, 2, 5], (1, 1, 1, 0)),
        ([1, 2, 3, 4, 5, 6, 0, -1], (0, 0, 0, 3)),
    ],
)
def test_faults(seen: list[int], found: tuple[int, int, int, int]) -> None:
    """A missing, repeated, late or unknown number counts once, as exactly that."""
    assert faults(seen) == found


@given(st.lists(st.integers(1, 30), max_size=100))
def test_every_event_is_counted_once(seen: list[int]) -> None:
    """Whatever comes, first sightings and losses add up to what was expected."""
    lost, duplicated, _, foreign = faults(seen, expected=30)
    assert (lost, duplicated, foreign) == (30 - len(set(seen)), len(seen) - len(set(seen)), 0)


def test_another_executions_event_is_foreign() -> None:
    """An event of another execution, or one that is no load test's, is foreign and not received."""
    account = Account("own", 2)
    assert not account.note(Sighting("other", 1, 0))
    assert not account.note(None)
    assert (account.foreign, account.received, account.lost) == (2, 0, 2)


def test_latencies_are_within_a_hundredth() -> None:
    """The percentiles of the buckets are those of the sorted list to one hundredth."""
    drawn = [random.Random(7).randrange(1, 10**9) for _ in range(5000)]
    latencies = Latencies()
    for ns in drawn:
        latencies.note(ns)
    drawn.sort()
    for share in (0.5, 0.99, 1.0):
        exact = drawn[int(share * len(drawn)) - 1] / 1e6
        assert latencies.percentile_ms(share) == pytest.approx(exact, rel=0.0101)
    assert latencies.summary()["max"] == round(drawn[-1] / 1e6, 3)


def test_no_latency_at_all_is_zero() -> None:
    """A run in which nothing arrived has a summary too."""
    assert Latencies().summary() == {"p50": 0.0, "p95": 0.0, "p99": 0.0, "max": 0.0}
    assert Latencies().histogram(10) == []


def findings(*accounts: Account) -> Findings:
    return sum_up(Ledger(accounts), RunStats(1, 0, 0.1, 0.1))


def test_findings_are_ok_only_if_every_tab_is() -> None:
    """One tab that did not open, did not end or has one fault makes the whole run not ok."""

    def good() -> Account:
        return Account("own", 1, opened=True, ended=True, received=1)

    assert findings(good(), good()).ok
    for fault in (
        {"opened": False, "problem": "HTTP 404"},
        {"ended": False, "problem": "cut"},
        {"received": 0},
        {"duplicated": 1},
        {"out_of_order": 1},
        {"foreign": 1},
        {"misnumbered": 1},
    ):
        bad = good()
        for name, value in fault.items():
            setattr(bad, name, value)
        assert not findings(good(), bad).ok, fault


def test_troubles_are_counted_by_their_words() -> None:
    """The findings say how many tabs met which trouble, the most frequent first."""
    accounts = [Account("own", 1, problem=problem) for problem in ("a", "b", "b", None)]
    assert list(findings(*accounts).troubles.items()) == [("b", 2), ("a", 1)]


def test_a_message_is_recognized_and_a_garbled_one_is_not() -> None:
    """What `compose` made is recognized with its number and time; altered or foreign it is not."""
    step, last = compose("own", 3, 4, 99), compose("own", 4, 4, 100)
    assert recognize(Frame("step:started", step, None)) == Sighting("own", 3, 99)
    assert recognize(Frame("execution:completed", last, "1-4")) == Sighting("own", 4, 100)
    assert recognize(Frame("step:completed", step, None)) is None
    for data in (b"{}", b"[]", b"7", b"", b"{", step.replace(b'"n":3', b'"n":"3"')):
        assert recognize(Frame("step:started", data, None)) is None


def test_a_reloaded_page_must_receive_all_again() -> None:
    """After a reload the whole history is due, none of it counts as a duplicate, and what the page
    before it had missed stays lost."""
    account = Account("own", 4)
    for n in (1, 2):
        account.note(Sighting("own", n, 0))
    account.reload()
    for n in (1, 2, 3, 4):
        account.note(Sighting("own", n, 0))
    assert (account.lost, account.duplicated, account.has_last) == (0, 0, True)
    holey = Account("own", 3)
    for n in (1, 3):
        holey.note(Sighting("own", n, 0))
    holey.reload()
    for n in (1, 2, 3):
        holey.note(Sighting("own", n, 0))
    assert holey.lost == 1


@pytest.mark.parametrize(
    ("ids", "found"),
    [
        (["7-1", "7-2", "7-3"], 0),
        (["7-1", "7-3"], 1),
        (["7-2", "7-1"], 1),
        (["7-1", "8-1", "8-2"], 0),
        ([None, "x", "7-1"], 0),
    ],
)
def test_ids_follow_one_another(ids: list[str | None], found: int) -> None:
    """Within a life each id is the next one; without ids there is nothing to check."""
    account = Account("own", 9)
    for n, event_id in enumerate(ids, start=1):
        account.note(Sighting("own", n, 0), event_id)
    assert account.misnumbered == found


def test_gaps() -> None:
    """What history no longer keeps is excused where a page is reloaded, and lost where a reader
    had a cursor."""
    reloaded = Account("own", 5)
    reloaded.gap(2)
    for n in (3, 4, 5):
        reloaded.note(Sighting("own", n, 0))
    assert (reloaded.lost, reloaded.trimmed, reloaded.has_last) == (0, 2, True)
    behind = Account("own", 5)
    behind.note(Sighting("own", 1, 0))
    behind.gap(2)
    for n in (4, 5):
        behind.note(Sighting("own", n, 0))
    assert (behind.lost, behind.trimmed) == (2, 0)


def test_nothing_is_expected_of_frozen_tabs() -> None:
    """A tab that never reads neither has to see anything nor spoils the findings; but one that was
    not let in has put nobody to the test."""
    good = Account("own", 1, opened=True, ended=True, received=1)
    found = findings(good, Account("own", 1, frozen=True, opened=True))
    assert found.ok
    assert (found.tabs, found.frozen, found.expected, found.lost) == (2, 1, 1, 0)
    assert not findings(good, Account("own", 1, frozen=True)).ok


def test_the_age_of_what_is_replayed_is_no_latency() -> None:
    """Only what was published while the stream was open says how long the gateway takes."""
    ledger = Ledger([Account("own", 2)])
    ledger.note(ledger.accounts[0], Sighting("own", 1, 100), 5_000, opened_ns=1_000)
    ledger.note(ledger.accounts[0], Sighting("own", 2, 1_500), 2_500, opened_ns=1_000)
    sample = ledger.timeline.close(2.0, open_tabs=1)
    assert ledger.timeline.total.count == 1
    assert sample.p99_ms == pytest.approx(0.001, rel=0.02)
    assert (sample.events_per_second, sample.open_tabs) == (1.0, 1)
    assert ledger.timeline.close(3.0, open_tabs=0).events_per_second == 0.0


def test_histogram() -> None:
    """Every duration is in one bar, below the bar's upper end."""
    latencies = Latencies()
    for ms in (1, 2, 2, 400):
        latencies.note(ms * 10**6)
    bars = latencies.histogram(20)
    assert len(bars) <= 20
    assert sum(count for _, count in bars) == 4
    assert sum(count for end, count in bars if end < 5) == 3
    assert [end for end, _ in bars] == sorted(end for end, _ in bars)


@pytest.mark.parametrize(
    ("text", "latency", "first", "met"),
    [
        ("p99=250ms", 250.0, 0.0, True),
        ("p99=250ms", 251.0, 0.0, False),
        ("first=1.5s", 9999.0, 1500.0, True),
        ("first=1.5s", 0.0, 1501.0, False),
        ("first=1.5s", 9999.0, 0.0, False),
        ("p99=250ms", 0.0, 9999.0, False),
    ],
)
def test_objectives(text: str, latency: float, first: float, met: bool) -> None:
    """An objective is met up to its figure, in ms or s, if there is a figure."""
    slo = Slo.parse(text)
    assert slo.is_met({"p99": latency}, {"p99": first}) is met


@pytest.mark.parametrize("text", ["", "p99", "p98=1ms", "p99=1", "p99=-1ms", "p99=1 ms", "first=s"])
def test_no_objectives(text: str) -> None:
    """What is no objective is refused with an example of one."""
    with pytest.raises(ValueError, match="p99=250ms"):
        Slo.parse(text)


def test_a_missed_objective_is_not_ok() -> None:
    """A run in which nothing was lost and an objective was missed is not ok."""
    ledger = Ledger([Account("own", 1, opened=True, ended=True, received=1)])
    ledger.first.note(2 * 10**9)
    course = RunStats(1, 0, 0.1, 0.1)
    assert sum_up(ledger, course, [Slo.parse("first=3s")]).ok
    missed = sum_up(ledger, course, [Slo.parse("first=3s"), Slo.parse("first=1s")])
    assert not missed.ok
    assert missed.objectives == {"first=3s": True, "first=1s": False}
