"""The scenarios: what goes wrong while executions run, one function each, and their table.

What must hold in the end is the same for all: see `tests.delivery.play`.
"""

import asyncio
from typing import TypeVar

from tests.delivery.backends import ReplicatedRedis, SingleRedis
from tests.delivery.failovers import FAILOVERS
from tests.delivery.habits import Broken, Fidgety, Frozen, Late, Slow
from tests.delivery.http_producer import HttpPublisher, http_while_all_breaks
from tests.delivery.journal import Allowed
from tests.delivery.producers import BareProducer
from tests.delivery.reader import Reader
from tests.delivery.sets import follow_all
from tests.delivery.stage import WATCHES, Scenario, Stage, insist
from tests.harness.redis_process import RedisProcess

F = TypeVar("F", bound=Frozen)


async def subscription_cut(stage: Stage) -> None:
    """`CLIENT KILL` of one gateway's subscription in mid-burst, now of one, now of the other."""
    for _ in range(4):
        await stage.pause(0.1, 0.4)
        await stage.subscribed()
        chosen = stage.chance.choice(await stage.subscriptions())
        await stage.redis.client_kill_filter(_id=chosen)


async def all_subscriptions_cut(stage: Stage) -> None:
    """`CLIENT KILL` of all subscriptions at once, again and again, also just before the end."""
    for _ in range(4):
        await stage.pause(0.1, 0.4)
        await cut_all_subscriptions(stage)


async def cut_all_subscriptions(stage: Stage) -> None:
    await stage.redis.client_kill_filter(_type="pubsub")


async def redis_suspended(stage: Stage) -> None:
    """Redis hangs for 2 s, its connections open."""
    server = single(stage)
    await stage.pause(0.2, 0.6)
    server.suspend()
    await asyncio.sleep(2.0)
    server.resume()
    await stage.pause(0.2, 0.6)


async def redis_restarted(stage: Stage) -> None:
    """Redis is killed and comes back with its append-only file."""
    server = single(stage)
    await stage.pause(0.3, 0.8)
    with stage.uncertain(only_bare=True):
        # The last PUBLISH may have been answered and not yet have been passed on.
        await asyncio.sleep(0.05)
        await asyncio.to_thread(server.kill)
        await stage.pause(0.0, 0.5)
        await asyncio.to_thread(server.start)
        await stage.subscribed()
    await stage.pause(0.2, 0.6)


async def gateway_killed(stage: Stage) -> None:
    """A gateway is killed with SIGKILL, and its readers move to the other one."""
    await stage.pause(0.3, 1.0)
    await stage.chance.choice(stage.gateways).kill()
    await stage.pause(0.5, 1.0)


async def gateways_rolled(stage: Stage) -> None:
    """One gateway after the other is stopped (SIGTERM: it drains) and started again."""
    for gateway in stage.gateways:
        await stage.pause(0.1, 0.4)
        await gateway.stop()
        await gateway.start()
        await stage.subscribed()
    await stage.pause(0.0, 0.3)


async def readers_cut(stage: Stage) -> None:
    """Readers are cut at random, in mid-frame as a rule."""
    await stage.pause(1.5, 2.0)


async def slow_among_fast(stage: Stage) -> None:
    """Some readers are slow, some stop reading until all fast ones have come to the end: nobody
    waits for them, and they miss nothing."""
    make_larger(stage)
    await frozen(stage, Frozen)
    await stage.pause(1.0, 1.5)
    stage.spawn(release_when_fast_ones_are_done(stage))


async def connects_at_random(stage: Stage) -> None:
    """Readers come at random moments, from before the first event to after the last."""
    await stage.pause(1.5, 2.0)


async def recorded_twice(stage: Stage) -> None:
    """Two gateways record the same bare events, a fifth of them equal, while one restarts."""
    for producer in stage.producers():
        assert isinstance(producer, BareProducer)
        producer.equal_share = 0.2
    restarted = stage.gateways[1]
    await stage.pause(0.3, 0.8)
    await stage.chance.choice((restarted.stop, restarted.kill))()
    await restarted.start()
    await stage.subscribed()
    await stage.pause(0.2, 0.6)


async def replica_promoted(stage: Stage) -> None:
    """The master dies, and a replica that has missed its last writes takes its place."""
    backend = stage.backend
    assert isinstance(backend, ReplicatedRedis)
    await stage.pause(0.3, 0.6)
    with stage.uncertain():
        await stage.all_kept()
        await backend.synchronized()
        backend.cut_link()
        for _ in range(stage.chance.randrange(1, 8)):
            lost = {
                producer.execution_id: await producer.announce() for producer in stage.producers()
            }

        async def seen_by_all() -> None:
            for reader in stage.readers(Reader):
                view = [entry.payload for entry in reader.journal.view]
                assert lost[reader.journal.execution_id] in view

        await insist(seen_by_all)
        await backend.fail_over(promoted_first=stage.chance.random() < 0.5)
        await stage.subscribed()

    async def told_of_it() -> None:
        for reader in stage.readers(Reader):
            assert reader.journal.resets == 1, f"{reader.name}: {reader.journal.resets} resets"

    await insist(told_of_it)


async def reader_broken(stage: Stage) -> None:
    """The connections of some readers are reset in the middle of a write."""
    make_larger(stage)
    broken = await frozen(stage, Broken)
    for producer in stage.producers():
        for _ in range(stage.chance.randrange(10, 30)):
            await producer.announce()
    for reader in broken:
        reader.released.set()
    await stage.pause(0.2, 0.5)


async def sets_while_all_breaks(stage: Stage) -> None:
    """Readers of all executions on one stream, cut at random, while a gateway is killed and Redis
    restarts."""
    for number in range(3):
        stage.spawn(follow_all(stage, number).run())
    await gateway_killed(stage)
    await redis_restarted(stage)


async def single_executions(stage: Stage) -> None:
    """Gateways subscribe to what is watched, and two recorders hand bare messages on: all
    subscriptions are cut in turn, then a recorder and a gateway are killed and Redis restarts."""
    await subscription_cut(stage)
    await stage.subscribed()

    # What only one of them has heard would die with it.
    await stage.all_kept()
    await stage.chance.choice(stage.recorders).kill()
    await gateway_killed(stage)
    await redis_restarted(stage)


def single(stage: Stage) -> RedisProcess:
    """The one Redis of a stage that has no other."""
    assert isinstance(stage.backend, SingleRedis)
    return stage.backend.server


def make_larger(stage: Stage) -> None:
    """Events that fill buffers: a tenth of them has 20 kB on average."""
    for producer in stage.producers():
        producer.largest = 40_000


async def frozen(stage: Stage, habit: type[F]) -> list[F]:
    """Wait until all readers of this habit have stopped reading."""
    readers = stage.readers(habit)

    async def check() -> None:
        assert all(reader.is_frozen for reader in readers)

    await insist(check)
    return readers


async def release_when_fast_ones_are_done(stage: Stage) -> None:
    async def check() -> None:
        assert all(reader.done for reader in stage.readers(Reader)), "the fast readers wait"

    await insist(check)
    for reader in stage.readers(Frozen):
        reader.released.set()


_CUTS = Allowed(cuts=True)
ROLLED = Allowed(cuts=True, closings=frozenset({"drain", "unavailable"}))
_REDIS_AWAY = Allowed(closings=frozenset({"unavailable"}))

SCENARIOS: dict[str, Scenario] = {
    scenario.disturb.__name__: scenario
    for scenario in (
        Scenario(subscription_cut, bare_in_order=False),
        Scenario(
            all_subscriptions_cut,
            before_the_end=cut_all_subscriptions,
            kinds=("publisher", "publisher"),
        ),
        Scenario(redis_suspended, allowed=_REDIS_AWAY),
        Scenario(
            redis_restarted,
            kinds=("publisher", "bare"),
            backend=lambda: SingleRedis("--appendonly", "yes", "--appendfsync", "always"),
            allowed=_REDIS_AWAY,
            bare_in_order=False,
        ),
        Scenario(gateway_killed, allowed=_CUTS),
        Scenario(gateways_rolled, allowed=ROLLED, bare_in_order=False),
        Scenario(readers_cut, readers=(Reader, *[Fidgety] * 7)),
        Scenario(
            slow_among_fast,
            readers=(Reader, Reader, Slow, Slow, Frozen, Frozen),
            settings={
                "GATEWAY_QUEUE_EVENTS": "8",
                "GATEWAY_QUEUE_BYTES": "65536",
                "GATEWAY_SEND_BUFFER_BYTES": "4096",
                # Those that stop reading are slow here, not gone.
                "GATEWAY_WRITE_TIMEOUT_SECONDS": "60",
            },
        ),
        Scenario(connects_at_random, readers=[Late] * 12),
        Scenario(
            recorded_twice, kinds=("bare", "bare", "bare"), allowed=ROLLED, bare_in_order=False
        ),
        Scenario(
            replica_promoted,
            kinds=("publisher", "bare"),
            backend=ReplicatedRedis,
            allowed=Allowed(resets=True, closings=frozenset({"unavailable"})),
            bare_in_order=False,
        ),
        Scenario(
            reader_broken,
            readers=(Reader, Reader, Fidgety, Broken, Broken, Broken),
            settings={"GATEWAY_SEND_BUFFER_BYTES": "4096"},
        ),
        Scenario(
            sets_while_all_breaks,
            kinds=("publisher", "publisher", "bare"),
            readers=(Reader,),
            backend=lambda: SingleRedis("--appendonly", "yes", "--appendfsync", "always"),
            allowed=ROLLED,
            bare_in_order=False,
        ),
        Scenario(
            single_executions,
            settings=WATCHES,
            recorders=2,
            backend=lambda: SingleRedis("--appendonly", "yes", "--appendfsync", "always"),
            allowed=ROLLED,
            bare_in_order=False,
        ),
        Scenario(
            http_while_all_breaks,
            kinds=("publisher", "publisher"),
            publishers=(),
            by_http=HttpPublisher,
            backend=lambda: SingleRedis("--appendonly", "yes", "--appendfsync", "always"),
            settings={"GATEWAY_PUBLISH": "on"},
            allowed=ROLLED,
        ),
    )
} | FAILOVERS
