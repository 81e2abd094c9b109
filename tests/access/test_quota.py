"""The rate of openings: a second's worth at once, no more over time, and idle subjects are
forgotten."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.access.quota import RateLimiter

WHO = "user-1"


@given(st.integers(1, 20), st.lists(st.floats(0, 0.3), min_size=1, max_size=200))
def test_rate_is_kept_in_every_window(per_second: int, pauses: list[float]) -> None:
    """In no window of time does one subject open more than a second's worth and what the window
    allows; and a subject that waits long enough may open again."""
    rate, now, taken = RateLimiter(per_second), 0.0, []
    for pause in pauses:
        now += pause
        if rate.take(WHO, now):
            taken.append(now)
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            window = taken[last] - taken[first]
            assert last - first + 1 <= per_second * (1 + window) + 1e-3
    assert rate.take(WHO, now + 1.1)


def test_a_seconds_worth_may_come_at_once() -> None:
    """A second's worth may come at once, and not one more."""
    rate = RateLimiter(5)
    assert [rate.take(WHO, 10.0) for _ in range(6)] == [True] * 5 + [False]
    assert rate.take("user-2", 10.0)


def test_what_counts_more_than_once_costs_more() -> None:
    """And is never more than a second's worth, which is always possible."""
    rate = RateLimiter(6)
    assert [rate.take(WHO, 10.0, times) for times in (5, 5, 1, 1)] == [True, False, True, False]
    assert [RateLimiter(3).take(WHO, 10.0, 5), RateLimiter(0).take(WHO, 10.0, 5)] == [True, True]


def test_idle_subjects_take_no_memory() -> None:
    """Subjects that came once are dropped."""
    rate = RateLimiter(5)
    for number in range(10_000):
        rate.take(f"user-{number}", number * 0.1)
    assert len(rate) <= 30
