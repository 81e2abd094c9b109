"""Pauses between attempts."""

from gateway.retry import Backoff


def test_pauses_grow_to_their_limit_and_are_random() -> None:
    """No pause is longer than the limit, and two processes that lost Redis at the same moment do
    not return at the same moment."""
    some, other = (
        [backoff.next() for _ in range(12)] for backoff in (Backoff(0.05, 1), Backoff(0.05, 1))
    )
    assert 0.025 <= some[0] <= 0.05
    assert all(0.5 <= pause <= 1 for pause in some[6:])
    assert some != other


def test_pauses_after_hours_of_failures() -> None:
    """However many attempts have failed there is a next pause; a success makes it short again."""
    backoff = Backoff(0.05, 1)
    assert max(backoff.next() for _ in range(3000)) <= 1
    backoff.reset()
    assert backoff.next() <= 0.05
