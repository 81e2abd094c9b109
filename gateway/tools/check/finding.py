"""What a check has found: a level, a sentence, and what to do about it."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from gateway.log import redact


class Level(StrEnum):
    """How bad it is; the declaration goes from good to bad."""

    OK = "ok"
    NOTE = "note"
    """Worth knowing, and nothing to mend."""
    WARNING = "warning"
    """It works now, and may not one day."""
    ERROR = "error"
    """Something does not work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; no secret reaches it, whatever a library's error said."""

    about: str
    level: Level
    sentence: str
    remedy: str = ""

    def __post_init__(self) -> None:
        for field in ("sentence", "remedy"):
            object.__setattr__(self, field, redact(getattr(self, field)))


@dataclass(frozen=True, slots=True)
class Topic:
    """Makes the findings about one thing."""

    about: str

    def ok(self, sentence: str) -> Finding:
        return Finding(self.about, Level.OK, sentence)

    def note(self, sentence: str, remedy: str = "") -> Finding:
        return Finding(self.about, Level.NOTE, sentence, remedy)

    def warning(self, sentence: str, remedy: str) -> Finding:
        return Finding(self.about, Level.WARNING, sentence, remedy)

    def error(self, sentence: str, remedy: str) -> Finding:
        return Finding(self.about, Level.ERROR, sentence, remedy)


def worst(findings: Iterable[Finding]) -> Level:
    """The worst level among *findings*; ok where there are none."""
    order = list(Level)
    return max((one.level for one in findings), key=order.index, default=Level.OK)
