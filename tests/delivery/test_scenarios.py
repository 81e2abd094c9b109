"""No event lost, none twice, and the end always arrives, whatever goes wrong meanwhile."""

import pytest

from tests.delivery.play import play
from tests.delivery.scenarios import SCENARIOS


@pytest.mark.parametrize("name", SCENARIOS)
async def test_delivery(name: str, seed: int) -> None:
    """Every reader sees every event of its execution once, in order, to the end."""
    try:
        await play(SCENARIOS[name], seed)
    except Exception as error:
        error.add_note(
            f"Seed {seed}. Replay it with: "
            f"python -m pytest tests/delivery -k {name} --delivery-seed={seed}"
        )
        raise
