"""No event lost, none twice, and the end always arrives, whatever goes wrong meanwhile."""

import pytest

from tests.delivery.failovers import WATCHED_FAILOVERS
from tests.delivery.play import play
from tests.delivery.scenarios import SCENARIOS


@pytest.mark.parametrize(
    "name", [*SCENARIOS, *(pytest.param(one, marks=pytest.mark.long) for one in WATCHED_FAILOVERS)]
)
async def test_delivery(name: str, seed: int) -> None:
    """Every reader sees every event of its execution once, in order, to the end."""
    try:
        await play((SCENARIOS | WATCHED_FAILOVERS)[name], seed)
    except Exception as error:
        error.add_note(
            f"Seed {seed}. Replay it with: "
            f"python -m pytest tests/delivery -m '' -k {name} --delivery-seed={seed}"
        )
        raise
