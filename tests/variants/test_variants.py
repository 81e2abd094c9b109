"""`make variants`, with one server; and its result in OPERATIONS.md."""

import re
from pathlib import Path

import pytest

from gateway.bus.probe import Probe
from tests.harness.redis_process import embedded_server_program
from tests.variants.table import CHECKS, row

TEXT = (Path(__file__).parents[2] / "gateway" / "OPERATIONS.md").read_text()


async def test_everything_works_with_the_embedded_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Probe, "rounds", 1)
    assert await row(embedded_server_program()) == dict.fromkeys(CHECKS, "works")


def test_the_document_has_a_row_for_each_server_that_was_tried() -> None:
    heading = f"| Server | {' | '.join(CHECKS)} |\n"
    rows = TEXT.partition(heading)[2].partition("\n\n")[0].splitlines()[1:]
    assert rows
    for one in rows:
        assert re.fullmatch(rf"\| \w+ [\d.]+ (\| works ){{{len(CHECKS)}}}\|", one), one
