"""What a check has found: a level, a sentence, and what to do."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import SecretStr
from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from gateway.harmless import harmless
from gateway.log import redact
from gateway.settings import Settings, variable


class Level(StrEnum):
    """How bad it is, from good to bad."""

    OK = "ok"
    NOTE = "note"
    """Worth knowing; nothing is wrong."""
    WARNING = "warning"
    """It works now, and may fail later."""
    ERROR = "error"
    """Something does not work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check; secrets that an error quotes are removed."""

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


HIDDEN = "(hidden)"
_CREDENTIALS = re.compile(r"(?<=://)[^/?#]*@")
_PASSWORD = re.compile(r"(?i)([?&]\w*(?:password|secret|token|key)\w*=)[^&#]+")


def shown(value: object) -> str:
    """*value* without the passwords that a URL may have in any of its parts."""
    match value:
        case SecretStr():
            return HIDDEN
        case None:
            return "-"
        case bool():
            return "true" if value else "false"
        case tuple():
            return ", ".join(map(str, value))
    return _PASSWORD.sub(rf"\1{HIDDEN}", _CREDENTIALS.sub(f"{HIDDEN}@", str(value)))


def described(
    settings: Settings, sources: Mapping[str, tuple[str, Any]]
) -> Iterator[RenderableType]:
    """All settings, for a terminal of any width: each with its value and where that comes from, and
    below what it means; *sources* as `gateway.settings.sources` has them."""
    for name, field in Settings.model_fields.items():
        source = sources[name][0] if name in sources else "default"
        value = harmless(shown(getattr(settings, name))) or "-"
        yield Text.assemble((variable(name), "bold"), f"  {value}  ", (harmless(source), "dim"))
        yield Padding(Text(field.description or ""), (0, 0, 0, 4))
