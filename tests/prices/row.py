"""What one row of the table of prices says: an attack, what it may cost, and what bounds it."""

import json
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.prices.stage import Stage

MIB = 1024 * 1024

LOAD = int(os.environ.get("PRICES_LOAD", "1"))
"""How many times as much is sent as in CI."""

NOISE_SECONDS = 0.1
"""CPU time that a run may cost beyond its bound: two readings, and what else goes on."""

MOST_GROWTH = 3.0
"""Twice the input must cost less than so many times as much: a quadratic cost shows as four."""

_TEXT = json.dumps([{"a": [1, 2, 3], "b": "text", "c": {"d": None}}] * 200)
_TEXT_SECONDS = 0.000125
"""CPU time to parse it on the machine where the bounds were set."""


def pace() -> float:
    """How many times as much CPU time as there this machine needs now; at least 1."""
    began = time.process_time()
    for _ in range(100):
        json.loads(_TEXT)
    return max(1.0, (time.process_time() - began) / 100 / _TEXT_SECONDS)


Attack = Callable[["Stage", int, int], Awaitable[None]]
"""Called with the size of each input and the number of inputs; returns once all are answered, or
cut."""


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of hostile input. Each bound holds for gateway and Redis together."""

    name: str
    """As SECURITY.md names it."""
    attack: Attack
    bound_by: str
    """The settings that the bound comes from, or `NAME in FILE` for what is no setting."""
    times: int = 50
    """Inputs of the smaller run."""
    size: int = 0
    """Of each input in the smaller run; doubled for the larger run. 0: the number is doubled."""
    cpu: float = 0.005
    """CPU seconds of one input of the larger run."""
    keeps: int = 5 * MIB
    """Bytes that may stay once it is over."""
    peak: int = 64 * MIB
    """Bytes that may be taken while it lasts."""
    waits: float = 1.0
    """Seconds that a bystander may wait for an event, or for a small poll."""
    gateway: str = "production"
    """Which of the gateways of `tests.prices.stage.GATEWAYS` is attacked."""
    through_nginx: bool = False
    prepare: Attack | None = None
    """Called once before, with the same figures; what it costs is not counted."""

    def small(self) -> tuple[int, int]:
        """Size and number of the inputs of the smaller run."""
        return self.size, self.times * LOAD

    def large(self) -> tuple[int, int]:
        """Twice the size, or else twice the number."""
        size, times = self.small()
        return (2 * size, times) if size else (0, 2 * times)

    def faults(self, figures: "Figures") -> list[str]:
        """Which bounds *figures* exceed, in sentences."""
        spends = self.cpu * self.large()[1] + NOISE_SECONDS
        waits = self.waits * figures.pace
        checks = [
            ("CPU seconds", figures.large, spends * figures.pace),
            (
                "CPU seconds of twice the input",
                figures.large,
                MOST_GROWTH * figures.small + NOISE_SECONDS,
            ),
            ("MiB that stay", figures.kept / MIB, self.keeps / MIB),
            ("MiB at most", figures.peak / MIB, self.peak / MIB),
            ("seconds that a bystander waits for an event", figures.event_wait, waits),
            ("seconds that a bystander waits for a poll", figures.poll_wait, waits),
        ]
        found = [
            f"{what}: {value:.3f}, and {bound:.3f} is the bound"
            for what, value, bound in checks
            if value >= bound
        ]
        return found + figures.broken


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured."""

    small: float
    """CPU seconds of the smaller run: of two, the larger one."""
    large: float
    kept: int
    """Bytes, also what Redis keeps."""
    peak: int
    event_wait: float
    poll_wait: float
    pace: float
    """Of the machine meanwhile: bounds in seconds are multiplied by it."""
    broken: list[str]
    """What must never happen, at any price: a lost event, a gateway that is not healthy."""

    def __str__(self) -> str:
        return (
            f"CPU {self.small:.3f} s, twice the input {self.large:.3f} s; "
            f"stays {self.kept / MIB:.1f} MiB, at most {self.peak / MIB:.1f} MiB; "
            f"waits {self.event_wait:.3f} s (event), {self.poll_wait:.3f} s (poll); "
            f"pace {self.pace:.2f}"
        )
