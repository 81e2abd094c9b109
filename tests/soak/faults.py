"""What goes wrong in a soak: one function each. At its end all is as before, except which Redis is
the master."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence

from tests.soak.backend import Failover, Former
from tests.soak.stage import SoakStage


async def subscription_cut(stage: SoakStage) -> None:
    """One gateway's subscription is cut in mid-burst."""
    chosen = stage.chance.choice(await stage.subscriptions())
    await stage.redis.client_kill_filter(_id=chosen)
    await stage.subscribed()


async def all_subscriptions_cut(stage: SoakStage) -> None:
    """All subscriptions are cut at once; a bare PUBLISH in that moment is lost."""
    async with stage.redis_lock:
        with stage.uncertain(only_bare=True):
            await stage.redis.client_kill_filter(_type="pubsub")
            await stage.subscribed()


async def master_killed(stage: SoakStage) -> None:
    """The master dies and its replica takes its place."""
    await _fail_over(stage, "dies")


async def master_hangs(stage: SoakStage) -> None:
    """The master hangs with all its connections open, and its replica takes its place."""
    await _fail_over(stage, "hangs")


async def master_moved(stage: SoakStage) -> None:
    """A planned failover: the master lives on, and takes writes, while its replica takes its
    place."""
    await _fail_over(stage, "lives on")


async def rolling_restart(stage: SoakStage) -> None:
    """One gateway after the other gets SIGTERM, drains, and is started again."""
    for gateway in stage.gateways:
        await gateway.stop()
        await gateway.start()
        await stage.subscribed()


async def gateway_killed(stage: SoakStage) -> None:
    """A gateway gets SIGKILL, and is started again."""
    gateway = stage.chance.choice(stage.gateways)
    await gateway.kill()
    await gateway.start()
    await stage.subscribed()


async def reloaded(stage: SoakStage) -> None:
    """The gateways get SIGHUP."""
    for gateway in stage.gateways:
        gateway.signal(signal.SIGHUP)


Faults = Sequence[Callable[[SoakStage], Awaitable[None]]]

_RESTARTS: Faults = (rolling_restart, gateway_killed)
_DISTURBANCES: Faults = (subscription_cut, reloaded, all_subscriptions_cut)
_FAILOVERS: Faults = (master_hangs, master_killed, master_moved)


def faults_of(number: int) -> Faults:
    """The faults of a round, counted from 0: gateways are restarted in the first one only, so that
    later figures are of the same processes."""
    if number == 0:
        return _RESTARTS
    return (*_DISTURBANCES, _FAILOVERS[(number - 1) % len(_FAILOVERS)])


async def disturb(stage: SoakStage, faults: Faults, seconds: float) -> None:
    """Let *faults* happen one after the other, with pauses, for *seconds*: once each at least, and
    then by chance."""
    clock = asyncio.get_running_loop().time
    until = clock() + seconds
    pause = seconds / 15
    to_come = list(faults)
    while to_come or clock() < until:
        await stage.pause(0.5 * pause, 1.5 * pause)
        happens = to_come.pop(0) if to_come else stage.chance.choice(faults)
        with stage.fault(happens.__name__):
            await happens(stage)
    await stage.pause(0.5 * pause, 1.5 * pause)


async def _fail_over(stage: SoakStage, former: Former) -> None:
    backend = stage.backend
    assert isinstance(backend, Failover)
    async with stage.redis_lock:
        await backend.ready()
        with stage.uncertain():
            await backend.fail_over(former)
            # Else it would go on to ask the former master, which answers as a replica does.
            await stage.redis.connection_pool.disconnect()
            await stage.subscribed()
            await asyncio.gather(*[producer.announce() for producer in stage.producers()])
