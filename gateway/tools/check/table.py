"""The table of all settings: name, value in force, where it comes from, meaning; no secret."""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr
from rich.table import Table

from gateway.harmless import harmless
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
            return "-"
        case bool():
            return "true" if value else "false"
        case tuple():
            return ", ".join(map(str, value))
    return _PASSWORD.sub(rf"\1{HIDDEN}", _CREDENTIALS.sub(f"{HIDDEN}@", str(value)))


def table(settings: Settings, sources: Mapping[str, tuple[str, Any]]) -> Table:
    """All settings, for a terminal; *sources* as `gateway.settings.sources` has them."""
    made = Table(box=None)
    # Whole, or three limits would have one name; and rich would cut a long value.
    made.add_column("setting", no_wrap=True, overflow="fold")
    for title in ("value", "from", "meaning"):
        made.add_column(title, overflow="fold")
    for name, field in Settings.model_fields.items():
        source = sources[name][0] if name in sources else "default"
        value = harmless(shown(getattr(settings, name)))
        made.add_row(variable(name), value, harmless(source), field.description)
    return made
