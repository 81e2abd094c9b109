"""Scenarios in which another Redis becomes the master, planned or not, named by sentinels or behind
one name; with many tabs, and producers of every kind."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable
from dataclasses import replace

from tests.delivery.account import read_history
from tests.delivery.backends import ReplicatedRedis, SentinelRedis
from tests.delivery.journal import Allowed
from tests.delivery.publishers import present_publisher, replicated_publisher, sync_publisher
from tests.delivery.reader import Reader
from tests.delivery.stage import WATCHES, Scenario, Stage, insist

BACK_WITHIN = 3.0
"""Seconds from the moment at which the new master is named to an event that every reader sees of
it."""

LOST_WITHIN = 1.0
"""Seconds from that moment in which Redis may still lose what it has accepted, unless its replicas
have it: so long may a producer, or a sentinel, not know it."""

TABS = 50
MORE_TABS = 150
"""In each run but the first, which `make test` runs too."""


async def sentinel_failover(stage: Stage) -> None:
    """The master is killed, or hangs (every other seed), and the sentinels promote the replica."""
    backend = stage.backend
    assert isinstance(backend, SentinelRedis)
    dies = backend.master.suspend if stage.seed % 2 == 0 else backend.master.kill

    async def happens() -> None:
        await asyncio.to_thread(dies)
        await backend.promoted()

    await _fail_over(stage, backend, happens())


async def planned_failover(stage: Stage) -> None:
    """`SENTINEL FAILOVER`: the former master lives on, and takes writes until it is demoted."""
    backend = stage.backend
    assert isinstance(backend, SentinelRedis)

    async def happens() -> None:
        await backend.order_failover()
        await backend.promoted()

    await _fail_over(stage, backend, happens())


async def name_moved(stage: Stage) -> None:
    """Behind one name the master becomes a replica, and closes no connection."""
    backend = stage.backend
    assert isinstance(backend, ReplicatedRedis)
    await _fail_over(stage, backend, backend.move())


async def first_dial_refused(stage: Stage) -> None:
    """Behind one name the master dies. The first connections after it are refused, the next come to
    a replica that is promoted a moment later: nobody may stay there deaf."""
    backend = stage.backend
    assert isinstance(backend, ReplicatedRedis)
    await _fail_over(stage, backend, backend.die())


async def _fail_over(
    stage: Stage, backend: SentinelRedis | ReplicatedRedis, happens: Awaitable[None]
) -> None:
    """*happens* lasts until the new master is named."""
    if stage.seed > 1:
        for _ in range(MORE_TABS):
            stage.spawn(stage.add_reader(stage.executions[0], Reader).run())
    await stage.pause(0.3, 0.8)
    with stage.uncertain():
        await stage.all_kept()
        await backend.synchronized()
        lives = {reader: epochs(reader) for reader in stage.readers(Reader)}
        await happens
        named = time.monotonic()
        # Else the stage would go on to ask the former master.
        await stage.redis.connection_pool.disconnect()
        await asyncio.sleep(LOST_WITHIN)

    async def served() -> None:
        # What was announced in vain counts too: a producer may have said all it has to say.
        await asyncio.gather(
            *[producer.announce() for producer in stage.producers() if not producer.survives]
        )
        for reader, before in lives.items():
            assert epochs(reader) - before, f"{reader.name} sees nothing of the new master"

    await insist(served)
    assert (took := time.monotonic() - named) < BACK_WITHIN, f"it took {took:.1f} s"
    await stage.subscribed()
    await stage.pause(0.2, 0.6)
    # Who has stayed with it loses what it accepted.
    await backend.restore()
    await _show_losses(stage)


async def _show_losses(stage: Stage) -> None:
    """Print what Redis has lost of what it accepted while it was changing."""
    for execution in stage.executions:
        kept = Counter(entry.payload for entry in await read_history(stage.redis, execution.id))
        for producer in execution.producers:
            if not producer.survives:
                lost = Counter(producer.doubtful) - kept
                print(f"{producer.name}: {lost.total()} of {len(producer.doubtful)} lost.")


def epochs(reader: Reader) -> set[int]:
    """The epochs of which a reader has events."""
    return {entry.id.epoch for entry in reader.journal.view}


FAILOVERS = {
    disturb.__name__: Scenario(
        disturb,
        kinds=("mixed",),
        readers=(Reader,) * TABS,
        publishers=(present_publisher, sync_publisher, replicated_publisher),
        backend=backend,
        allowed=Allowed(resets=True, closings=frozenset({"unavailable"})),
        bare_in_order=False,
    )
    for disturb, backend in (
        (sentinel_failover, SentinelRedis),
        (planned_failover, SentinelRedis),
        (name_moved, ReplicatedRedis),
        (first_dial_refused, ReplicatedRedis),
    )
}

WATCHED_FAILOVERS = {
    f"{name}-execution": replace(scenario, settings=WATCHES, recorders=2)
    for name, scenario in FAILOVERS.items()
}
"""The same where gateways subscribe to single executions."""
