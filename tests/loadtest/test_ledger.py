"""The ledger: every fault is counted as what it is, and nothing else is."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.loadtest.ledger import Account, Findings, Latencies, Ledger
from gateway.loadtest.messages import Sighting, compose, recognize
from gateway.loadtest.wire import Frame


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
    assert Latencies().summary() == {"p50": 0.0, "p99": 0.0, "max": 0.0}


def findings(*accounts: Account) -> Findings:
    return Ledger(accounts).findings(
        published=1, unheard=0, opening_seconds=0.1, publishing_seconds=0.1
    )


def test_findings_are_ok_only_if_every_tab_is() -> None:
    """One tab that did not open, did not end or has one fault makes the whole run not ok."""

    def good() -> Account:
        return Account("own", 1, opened=True, ended=True, received=1)

    assert findings(good(), good()).ok
    for fault in (
        {"opened": False, "trouble": "HTTP 404"},
        {"ended": False, "trouble": "cut"},
        {"received": 0},
        {"duplicated": 1},
        {"out_of_order": 1},
        {"foreign": 1},
    ):
        bad = good()
        for name, value in fault.items():
            setattr(bad, name, value)
        assert not findings(good(), bad).ok, fault


def test_troubles_are_counted_by_their_words() -> None:
    """The findings say how many tabs met which trouble, the most frequent first."""
    accounts = [Account("own", 1, trouble=trouble) for trouble in ("a", "b", "b", None)]
    assert list(findings(*accounts).troubles.items()) == [("b", 2), ("a", 1)]


def test_a_message_is_recognized_and_a_garbled_one_is_not() -> None:
    """What `compose` made is recognized with its number and time; altered or foreign it is not."""
    step, last = compose("own", 3, 4, 99), compose("own", 4, 4, 100)
    assert recognize(Frame("step:started", step, None)) == Sighting("own", 3, 99)
    assert recognize(Frame("execution:completed", last, "1-4")) == Sighting("own", 4, 100)
    assert recognize(Frame("step:completed", step, None)) is None
    for data in (b"{}", b"[]", b"7", b"", b"{", step.replace(b'"n":3', b'"n":"3"')):
        assert recognize(Frame("step:started", data, None)) is None
