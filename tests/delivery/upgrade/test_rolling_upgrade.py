"""Two releases on one Redis: gateways and publishers of the previous one beside present ones."""

from functools import partial
from pathlib import Path

import pytest

from tests.delivery.play import play
from tests.delivery.scenarios import ROLLED
from tests.delivery.stage import Scenario, Stage, present_publisher
from tests.delivery.upgrade.previous_release import PreviousPublisher, extract


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that holds the previous release."""
    return extract(tmp_path_factory.mktemp("previous-release"))


async def _roll(stage: Stage, number: int, tree: Path | None) -> None:
    """Restart one gateway with the release in *tree*; None for the present one."""
    gateway = stage.gateways[number]
    await stage.pause(0.2, 0.5)
    await gateway.stop()
    gateway.tree = tree
    await gateway.start()
    await stage.subscribed()


async def _up_and_back(previous: Path, stage: Stage) -> None:
    """From the previous release to the present one, gateway by gateway, and back again."""
    for tree in (previous, None, previous):
        for number in range(len(stage.gateways)):
            await _roll(stage, number, tree)
    await stage.pause(0.2, 0.5)


async def test_nothing_is_lost_or_doubled_while_two_releases_run(previous: Path, seed: int) -> None:
    """Each reader sees each event once and in order, whichever release published, recorded and
    delivered it."""
    await play(
        Scenario(
            partial(_up_and_back, previous),
            allowed=ROLLED,
            bare_in_order=False,
            publishers=(present_publisher, partial(PreviousPublisher, previous)),
        ),
        seed,
    )
