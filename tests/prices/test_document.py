"""SECURITY.md and the table of prices say the same."""

import re

from gateway.settings import Settings
from tests.prices.table import HEAD, ROWS, lines
from tests.readme.blocks import ROOT

_SAID = (ROOT / "gateway" / "SECURITY.md").read_text()


def test_named() -> None:
    """SECURITY.md names every row with its bounds, and no other one."""
    table = re.search(rf"^{re.escape(HEAD[0])}\n(\|.*\n)+", _SAID, re.MULTILINE)
    assert table is not None
    assert table[0].splitlines() == lines(), "python -m tests.prices.table prints it as it is"


def test_each_name_once() -> None:
    """No two rows have the same name, so that a failure names one."""
    names = [row.name for row in ROWS]
    assert sorted(set(names)) == sorted(names)
    assert len(names) >= 40


def test_bounds() -> None:
    """What bounds a price is a setting, or a name that is in the file that the document names."""
    for one in {one for row in ROWS for one in row.bound_by.split(", ")}:
        name, _, file = one.partition(" in ")
        assert name in (Settings.model_fields if not file else (ROOT / file).read_text()), one
