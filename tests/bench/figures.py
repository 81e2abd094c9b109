"""Figures, their targets, and what becomes of them: a table, JSON, a comparison. Pure."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number."""

    name: str
    value: float
    unit: str
    most: float | None = None
    """The target, where less is better."""
    least: float | None = None
    """The target, where more is better."""

    @property
    def met(self) -> bool | None:
        """Whether it reaches its target; None for one without."""
        if self.most is not None:
            return self.value <= self.most
        return self.value >= self.least if self.least is not None else None

    @property
    def target(self) -> str:
        """The target in words."""
        if self.most is not None:
            return f"<= {self.most:g}"
        return f">= {self.least:,g}" if self.least is not None else ""


def percentile(values: Sequence[float], share: float) -> float:
    """The value that *share* of *values*, which are not empty, do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, -(-round(share * 1000) * len(ordered) // 1000) - 1)]


def to_json(figures: Sequence[Figure], machine: dict[str, str]) -> dict[str, Any]:
    """What `--json` writes and `--compare` reads."""
    return {"machine": machine, "figures": [asdict(one) | {"met": one.met} for one in figures]}


def ratios(figures: Sequence[Figure], before: dict[str, Any]) -> dict[str, float]:
    """By name, this value divided by the one of the run *before*."""
    known = {one["name"]: one["value"] for one in before["figures"]}
    return {one.name: one.value / known[one.name] for one in figures if known.get(one.name)}
