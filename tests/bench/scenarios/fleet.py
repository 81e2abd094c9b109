"""What gateways of a fleet pay for executions that others watch, and what each gateway adds, by the
two kinds of subscription."""

from gateway.contract.keys import PublishTo
from tests.bench.cluster_stage import on_a_cluster
from tests.bench.figures import Figure
from tests.bench.fleet import fleet
from tests.bench.stage import Stage

_RATE = 5000
"""Events a second."""

_SHARE = 100
"""One execution of so many is watched."""

_MOST_OF_A_CORE = 3.0
"""Percent; what is not watched costs nothing."""

_AT_ONCE = 100
"""Events that a gateway gets together."""

_LEAST_GROWTH = 0.9
"""Of a linear one."""

_KINDS: tuple[PublishTo, ...] = ("pattern", "execution")


async def play(stage: Stage) -> None:
    """Both parts, for each kind of subscription."""
    for kind in _KINDS:
        await _one_percent(stage, kind)
    for kind in _KINDS:
        await _growth(stage, kind)


async def play_on_cluster(stage: Stage) -> None:
    """The same through three primaries, where each execution has its own channel."""
    async with on_a_cluster(stage) as cluster:
        await _one_percent(cluster, "execution", " on a cluster")
        await _growth(cluster, "execution", " on a cluster")


async def _one_percent(stage: Stage, kind: PublishTo, where: str = "") -> None:
    """The core of a gateway that watches one percent of what is published; then only that one
    percent is published."""
    executions = await stage.executions(stage.size(10_000, 200), events=1)
    watched, seconds = executions[::_SHARE], stage.size(10, 1)
    costs = []
    async with fleet(stage, 1, kind) as gateways:
        [gateway] = gateways.gateways
        await gateway.crowd.open(watched, replayed=1)
        for some, rate in ((executions, _RATE), (watched, _RATE // _SHARE)):
            used = gateway.cpu
            await stage.pace(
                gateway.crowd, some, rate=rate, events=rate * seconds, script=True,
                share=len(watched) / len(some), to=kind,
            )  # fmt: skip
            costs.append((gateway.cpu - used) / seconds)
    most = _MOST_OF_A_CORE if kind == "execution" else None
    stage.add(
        Figure(
            f"{_RATE} events/s, 1 % watched, by {kind}{where}", costs[0] * 100, "% CPU", most=most
        ),
        Figure(f"the watched 1 % alone, by {kind}{where}", costs[1] * 100, "% CPU"),
    )


async def _growth(stage: Stage, kind: PublishTo, where: str = "") -> None:
    """How many events a second more gateways deliver with a core each, where each execution has one
    tab, at one gateway, as behind a hash. The busiest gateway is full first.

    An event costs less, the more of them arrive together: so each gateway gets as many at a time as
    one alone does, and waits for no more of them while others have the core that all share here."""
    alone = 0.0
    for count in (1, 2, 4) if stage.full else (1, 2):
        executions = await stage.executions(stage.size(1000, 40), events=1)
        async with fleet(stage, count, kind) as gateways:
            for number, one in enumerate(gateways.gateways):
                await one.crowd.open(executions[number::count], replayed=1)
            events, at_once = stage.size(20_000, 400) * count, _AT_ONCE * count
            messages = await gateways.with_ids(executions, events)
            spent = await gateways.play(
                executions, messages, 1 / count, at_once=at_once, ahead=at_once
            )
        rate = events / max(spent.gateways)
        alone = alone or rate
        stage.add(Figure(f"{count} gateways by {kind}{where}, a core each", rate, "events/s"))
        if count > 1:
            least = _LEAST_GROWTH if kind == "execution" else None
            growth = rate / alone / count
            stage.add(
                Figure(
                    f"the same / linear growth, {count} by {kind}{where}", growth, "x", least=least
                )
            )
