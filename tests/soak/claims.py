"""What must be as it was at the start, and whether it is."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.soak.figures import Figures
from tests.soak.plan import HISTORY_SECONDS, POOL
from tests.soak.redis_figures import Leftovers

_MIB = 1024 * 1024
_RSS_SHARE = 0.10
_RSS_MIB = 6
_REDIS_MIB = 2
_EXECUTION_MIB = 0.125
"""Of Redis with nothing in it, and for each execution: its history until that expires, and for up
to an hour what tells an event that comes again from a new one."""

_TARDY = 5.0
"""Seconds: executions end a little before their histories are given their time."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One line of the table. *allowed* is the most that *ended* may be."""

    what: str
    began: float | None
    ended: float
    allowed: float
    unit: str = ""

    @property
    def holds(self) -> bool:
        return self.ended <= self.allowed


def of_gateway(looks: Sequence[Figures]) -> Iterator[Claim]:
    """Of one process: the first of *looks* was taken after the warm-up, the last at the end."""
    began, ended = looks[0], looks[-1]
    name = ended.gateway
    for what in (
        "streams", "listed", "sockets", "queued", "dead_tasks", "unaccounted", "gaps", "malformed"
    ):  # fmt: skip
        yield Claim(f"{name}: {_LABELS[what]}", getattr(began, what), getattr(ended, what), 0)
    yield Claim(f"{name}: tasks", began.tasks, ended.tasks, began.tasks)
    # The pool opens a connection when all others are in use, and keeps it.
    yield Claim(
        f"{name}: file descriptors", began.descriptors, ended.descriptors, began.descriptors + POOL
    )
    # What was allocated at the busiest moment is seldom given back as a whole: freed blocks lie
    # among those in use. A leak of 1 KiB a stream is above this after some thousand streams.
    allowed = began.rss / _MIB * (1 + _RSS_SHARE) + _RSS_MIB
    yield Claim(f"{name}: memory", began.rss / _MIB, ended.rss / _MIB, allowed, "MiB")


_LABELS = {
    "streams": "streams open",
    "listed": "streams in /streams",
    "sockets": "sockets established",
    "queued": "bytes that wait for readers",
    "dead_tasks": "dead background tasks",
    "unaccounted": "streams that ended without a reason",
    "gaps": "readers told stream:gap",
    "malformed": "messages dropped",
}


def of_errors(errors: Sequence[str]) -> Claim:
    """*errors*: lines of the gateways' logs. No fault of a soak explains one."""
    return Claim("log lines at ERROR or above", None, len(errors), 0)


def of_redis(left: Leftovers, ends: Sequence[float], now: float) -> Iterator[Claim]:
    """*ends*: when each execution has ended, and *now*, in seconds of the same clock."""
    recent = sum(end > now - HISTORY_SECONDS - _TARDY for end in ends)
    yield Claim("Redis: keys that never expire", None, left.unending, 0)
    yield Claim("Redis: histories kept", None, left.histories, recent)
    allowed = _REDIS_MIB + len(ends) * _EXECUTION_MIB
    yield Claim("Redis: data", None, left.dataset / _MIB, allowed, "MiB")


def of_events(counted: Mapping[str, int], expected: Iterable[str]) -> Iterator[Claim]:
    """Each of *expected* has happened: a soak in which it did not says nothing about it."""
    for name in expected:
        if not counted.get(name):
            yield Claim(f"never happened: {name}", None, 1, 0)
