"""What `test_scenarios` does, on a cluster with replicas; `make cluster-tests` has more seeds."""

import pytest

from tests.delivery.cluster_failovers import CLUSTER_FAILOVERS
from tests.delivery.play import play


@pytest.mark.long
@pytest.mark.parametrize("name", CLUSTER_FAILOVERS)
async def test_delivery_on_a_cluster(name: str, seed: int) -> None:
    """Every reader sees every event of its execution once, in order, to the end."""
    await play(CLUSTER_FAILOVERS[name], seed)
