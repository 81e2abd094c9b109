"""DELIVERY.md and SECURITY.md: every test and scenario that they name as a witness exists."""

import re

import pytest

from tests.delivery.scenarios import SCENARIOS
from tests.readme.blocks import ROOT

_PROMISE = (ROOT / "gateway" / "DELIVERY.md").read_text()
_RULES = (ROOT / "gateway" / "SECURITY.md").read_text()
_ROWS = re.findall(r"^\| (?!What|Rule|Bound)(.*) \|$", _PROMISE + _RULES, re.MULTILINE)
_TEST = re.compile(r"(tests/\S+\.py)?::(\w+)")


@pytest.mark.parametrize("row", _ROWS, ids=lambda row: row[:40])
def test_witnesses(row: str) -> None:
    """Every line of the promise, and every rule, names a witness, and each of them exists."""
    cell = row.rpartition(" | ")[2]
    witnesses = re.findall(r"`([^`]+)`", cell)
    assert witnesses or "every scenario" in cell
    text = ""
    for witness in witnesses:
        if match := _TEST.fullmatch(witness):
            file, test = match.groups()
            # `::test` alone is of the file before it.
            text = (ROOT / file).read_text() if file else text
            assert re.search(rf"^(async )?def {test}\(", text, re.MULTILINE), witness
        elif witness.startswith("-k "):
            assert witness.removeprefix("-k ") in SCENARIOS
        else:
            assert (ROOT / witness).is_dir()


def test_every_scenario_is_named() -> None:
    """No scenario is played that the promise does not speak of."""
    assert set(re.findall(r"`-k ([a-z_]+)`", _PROMISE)) == set(SCENARIOS)
