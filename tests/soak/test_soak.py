"""A short soak, and that a longer one would find what it looks for."""

from dataclasses import replace

import pytest

from tests.soak.figures import Figures, compare
from tests.soak.people import Account, Execution, Tab
from tests.soak.play import soak

BEGAN = Figures(
    streams=0, listed=0, sockets=0, memory=80 << 20, descriptors=25, tasks=15, dead_tasks=0
)


@pytest.mark.timeout(150)
async def test_short() -> None:
    """After churn, failovers, a rolling restart and a kill the gateways end where they began, and
    no tab has missed an event or seen one twice."""
    outcome = await soak(8, seed=1)
    assert outcome.is_well, outcome
    played = {"rolling_restart", "failover", "killed", "reload", "subscription_cut"}
    assert outcome.faults.keys() == played
    assert outcome.account.checked > 20


@pytest.mark.parametrize(
    ("figure", "ended"),
    [("streams", 1), ("listed", 1), ("sockets", 1), ("memory", 120 << 20), ("descriptors", 40),
     ("tasks", 25), ("dead_tasks", 1)],
)  # fmt: skip
def test_a_leak_is_found(figure: str, ended: int) -> None:
    """Each figure that ends higher than it may is told, and that one alone."""
    assert all(line.is_well for line in compare("gateway", BEGAN, BEGAN))
    lines = compare("gateway", BEGAN, replace(BEGAN, **{figure: ended}))
    assert len([line for line in lines if not line.is_well]) == 1


@pytest.mark.parametrize(
    ("second", "fault"),
    [("5-2", False), ("5-3", True), ("5-1", True), ("6-1", False), ("6-2", True)],
)
def test_a_loss_is_found(second: str, fault: bool) -> None:
    """A hole and a repetition are faults; what follows, or begins another life, is none."""
    account = Account()
    tab = Tab(Execution("run-1"), account)
    for event_id in ("5-1", second):
        frame = f'id: {event_id}\nevent: step:started\ndata: {{"id":"{event_id}"}}\n\n'
        tab.feed(frame.encode())
    assert bool(account.faults) == fault
