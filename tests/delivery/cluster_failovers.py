"""Scenarios in which a primary of a cluster is replaced, with executions on all nodes."""

import asyncio
import time

from gateway.contract.keys import meta_key
from gateway.contract.scripts import HistoryLimits
from tests.delivery.cluster_backend import ClusterRedis, PausingCluster
from tests.delivery.failovers import epochs
from tests.delivery.http_producer import HttpPublisher
from tests.delivery.journal import Allowed
from tests.delivery.publishers import present_publisher, replicated_publisher, sync_publisher
from tests.delivery.reader import Reader
from tests.delivery.stage import WATCHES, Scenario, Stage, insist
from tests.harness.redis_cluster import ClusterNode

BACK_WITHIN = 5.0
"""Seconds from the moment at which the new primary serves to an event that every reader sees."""

LOST_WITHIN = 1.0
"""Seconds from that moment in which Redis may still lose what it has accepted, unless its replicas
have it."""

TABS = 10
"""Of each execution."""


async def cluster_primary_dies(stage: Stage) -> None:
    """The primary of an execution is killed, or hangs (every other seed), and its replica takes its
    place; in every third seed it is the one where the gateways subscribe."""
    cluster, key = backend_of(stage).cluster, meta_key(stage.executions[0].id)
    owner = cluster.owner(key) if stage.seed % 3 else cluster.primaries[0]
    dies = owner.suspend if stage.seed % 2 == 0 else owner.kill
    await stage.pause(0.3, 0.8)
    before = lives_at(stage, owner)
    with stage.uncertain():
        await stage.all_kept()
        await backend_of(stage).synchronized(owner)
        await asyncio.to_thread(dies)
        await asyncio.to_thread(cluster.promoted, owner.port)
        named = time.monotonic()
        await asyncio.sleep(LOST_WITHIN)
    await _served(stage, before, named)
    await backend_of(stage).restore(owner)
    await stage.subscribed()
    await stage.pause(0.2, 0.6)


async def cluster_failover_planned(stage: Stage) -> None:
    """`CLUSTER FAILOVER` of each primary, one after the other: nothing at all may be lost."""
    cluster = backend_of(stage).cluster
    for owner in await asyncio.to_thread(lambda: cluster.primaries):
        await stage.pause(0.3, 0.8)
        before = lives_at(stage, owner)
        await asyncio.to_thread(cluster.fail_over, owner)
        await _served(stage, before, time.monotonic())
        await asyncio.to_thread(cluster.settled)
        await stage.subscribed()
    await stage.pause(0.2, 0.6)


def backend_of(stage: Stage) -> ClusterRedis:
    """The cluster of *stage*."""
    assert isinstance(stage.backend, ClusterRedis)
    return stage.backend


def lives_at(stage: Stage, owner: ClusterNode) -> dict[Reader, set[int]]:
    """The epochs that the readers of the executions at *owner* have seen; of the others, none."""
    cluster = backend_of(stage).cluster
    return {
        reader: epochs(reader) if cluster.owner(meta_key(execution.id)) is owner else set()
        for execution in stage.executions
        for reader in execution.readers
        if isinstance(reader, Reader)
    }


async def _served(stage: Stage, before: dict[Reader, set[int]], named: float) -> None:
    """Each reader sees an event of the new primary soon, and the others any new event."""
    last = {reader: reader.journal.view[-1:] for reader in before}

    async def served() -> None:
        quick = [one for one in stage.producers() if not one.survives]
        await asyncio.gather(*[producer.announce() for producer in quick])
        for reader, lives in before.items():
            assert epochs(reader) - lives, f"{reader.name} sees nothing of the new primary"
            assert reader.journal.view[-1:] != last[reader], f"{reader.name} sees nothing new"

    await insist(served)
    assert (took := time.monotonic() - named) < BACK_WITHIN, f"it took {took:.1f} s"


_SUBSCRIPTIONS: dict[str, tuple[int, dict[str, str]]] = {
    "pattern": (0, {}),
    "execution": (2, WATCHES),
}
"""With how many recorders."""

CLUSTER_FAILOVERS = {
    f"{disturb.__name__}-{subscription}": Scenario(
        disturb,
        # One execution at each node.
        kinds=("mixed",) * 3,
        readers=(Reader,) * TABS,
        publishers=(present_publisher, sync_publisher, replicated_publisher),
        by_http=HttpPublisher,
        bare_in_order=False,
        backend=backend,
        settings={**settings, "GATEWAY_PUBLISH": "on", "GATEWAY_HISTORY_MAX_EVENTS": "2000"},
        # Five producers may say more than is kept by default.
        limits=HistoryLimits(max_events=2000),
        recorders=recorders,
        allowed=Allowed(resets=True, closings=frozenset({"unavailable"})),
    )
    for disturb, backend in (
        (cluster_primary_dies, ClusterRedis),
        (cluster_failover_planned, PausingCluster),
    )
    for subscription, (recorders, settings) in _SUBSCRIPTIONS.items()
}
