"""Two releases on one Redis: gateways and publishers of the previous one beside present ones."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from tests.delivery.backends import SentinelRedis
from tests.delivery.failovers import sentinel_failover
from tests.delivery.play import play
from tests.delivery.publishers import present_publisher
from tests.delivery.reader import Reader
from tests.delivery.scenarios import ROLLED
from tests.delivery.stage import Scenario, Stage, insist
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


async def _fail_over(previous: Path, stage: Stage) -> None:
    """With a gateway of each release, and tabs that stay with theirs, the master dies or hangs."""
    await _roll(stage, 0, previous)
    (execution,) = stage.executions
    tabs = [stage.add_reader(execution, Reader, gateway) for gateway in stage.gateways * 3]
    for tab in tabs:
        stage.spawn(tab.run())
    await sentinel_failover(stage)
    new = {await producer.announce() for producer in execution.producers}

    async def told() -> None:
        for tab in tabs:
            missing = new - {entry.payload for entry in tab.journal.view}
            assert not missing, f"{tab.name} has not seen {missing}"

    await insist(told)


async def test_two_releases_follow_to_the_new_master(previous: Path, seed: int) -> None:
    """Both gateways soon deliver what both publishers and a bare PUBLISH announce there. No reader
    sees an id twice or out of order. No event is lost that was accepted before the replica had all
    there was, or later than a second after the new master was named."""
    await play(
        Scenario(
            partial(_fail_over, previous),
            kinds=("mixed",),
            readers=(Reader,) * 4,
            allowed=replace(ROLLED, resets=True),
            bare_in_order=False,
            publishers=(present_publisher, partial(PreviousPublisher, previous)),
            backend=SentinelRedis,
        ),
        seed,
    )
