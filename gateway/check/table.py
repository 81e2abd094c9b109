"""The table of all settings: name, value in force, where it comes from, meaning; no secret."""

import re
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import SecretStr
from rich.table import Table

from gateway.settings import Settings, variable

HIDDEN = "(hidden)"
_CREDENTIALS = re.compile(r"(?<=://)[^/?#]*@")
_PASSWORD = re.compile(r"(?i)([?&]\w*(?:password|secret|token|key)\w*=)[^&#]+")


def shown(value: object) -> str:
    """*value* as people may read it: without passwords, whichever way they stand in a URL."""
    match value:
        case SecretStr():
            return HIDDEN
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case tuple():
            return ", ".join(map(str, value))
    return _PASSWORD.sub(rf"\1{HIDDEN}", _CREDENTIALS.sub(f"{HIDDEN}@", str(value)))


def rows(settings: Settings, sources: Mapping[str, tuple[str, Any]]) -> Collection[tuple[str, ...]]:
    """Variable, value, source and description of each setting, as the table has them."""
    return [
        (
            variable(name),
            shown(getattr(settings, name)),
            sources[name][0] if name in sources else "default",
            field.description or "",
        )
        for name, field in Settings.model_fields.items()
    ]


def table(lines: Collection[tuple[str, ...]]) -> Table:
    """*lines* for a terminal."""
    made = Table("Setting", "Value", "From", "Meaning", box=None, pad_edge=False)
    for line in lines:
        made.add_row(*line)
    return made
