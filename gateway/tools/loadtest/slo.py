"""Service level objectives as they stand on the command line: `p99=250ms`. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

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
