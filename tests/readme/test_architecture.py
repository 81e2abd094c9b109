"""ARCHITECTURE.md against the code."""

import re

from gateway.components import Components
from gateway.settings import load
from tests.readme.blocks import ROOT

_TABLE = re.compile(r"^\| Task \| .*\n\|---.*\n((?:\|.*\n)+)", re.MULTILINE)
_STARTED_ELSEWHERE = ["header watch", "watchdog"]
"""By the runner of each address, and under systemd."""


async def test_every_background_task_is_described_in_start_order() -> None:
    """With settings under which every task exists."""
    settings = load(
        None,
        redis_url="redis+sentinel://localhost/events",
        jwks_url="https://issuer.example/keys",
        jwt_algorithms="RS256",
    )
    table = _TABLE.search((ROOT / "gateway" / "ARCHITECTURE.md").read_text())
    assert table is not None
    described = [re.split(r" \||,", row.removeprefix("| "))[0] for row in table[1].splitlines()]
    assert described == [*Components(settings).tasks(), *_STARTED_ELSEWHERE]
