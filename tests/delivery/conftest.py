"""Each scenario is a test with each seed; how many, and which, is said on the command line."""

import pytest

from tests.delivery.cluster_failovers import CLUSTER_FAILOVERS
from tests.delivery.failovers import FAILOVERS, WATCHED_FAILOVERS

RUNS = 1
"""Seeds of each scenario where nothing else is asked for."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("delivery")
    group.addoption(
        "--delivery-runs", type=int, help=f"run each scenario with this many seeds ({RUNS})"
    )
    group.addoption("--delivery-seed", type=int, help="run each scenario with this seed only")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" not in metafunc.fixturenames:
        return
    # In a run of all tests this file is read after the command line.
    seed = metafunc.config.getoption("delivery_seed", default=None)
    runs = metafunc.config.getoption("delivery_runs", default=None)
    seeds = [seed] if seed is not None else range(1, (runs or RUNS) + 1)
    metafunc.parametrize("seed", seeds, ids=[f"seed{number}" for number in seeds])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A failover asserts how long it takes. Those of `make test`, with few tabs, are quick enough
    beside other tests."""
    for item in items:
        if (case := getattr(item, "callspec", None)) is None:
            continue
        name, seed = case.params.get("name"), case.params.get("seed", 1)
        if name in WATCHED_FAILOVERS | CLUSTER_FAILOVERS or (name in FAILOVERS and seed > 1):
            item.add_marker(pytest.mark.alone)
