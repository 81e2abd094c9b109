"""What a second process gives, and what each one costs by its own pattern subscription.

Every instance is sent every event, whoever watches it. All instances of a bench share one core, so
nothing here is a speed: CPU seconds tell what each would take on a core of its own.
"""

from contextlib import AsyncExitStack

from tests.bench.figures import Figure
from tests.bench.processes import cpu_seconds
from tests.bench.stage import Gateway, Stage, message

_SIZES = (1, 2, 4, 8)


async def play(stage: Stage) -> None:
    """1,000 tabs of 200 executions in one process, then split by execution between two."""
    alone, _ = await _deliver(stage, instances=1)
    split, _ = await _deliver(stage, instances=2)
    stage.add(Figure("two processes take, of what one does", max(alone) / max(split), "x"))


async def play_ceiling(stage: Stage) -> None:
    """Events that nobody watches, sent to 1, 2, 4 and 8 instances."""
    for name, with_ids in (("with an id", True), ("bare", False)):
        for instances in _SIZES if stage.full else _SIZES[:2]:
            each, redis = await _ignore(stage, instances, with_ids=with_ids)
            of = f"an event {name}, {instances} instances"
            stage.add(
                Figure(f"{of}: each gateway", each * 1e6, "us CPU"),
                Figure(f"{of}: Redis", redis * 1e6, "us CPU"),
                Figure(f"{of}: ceiling", 1 / max(each, redis), "events/s"),
            )


async def _deliver(stage: Stage, instances: int) -> tuple[list[float], float]:
    """CPU seconds of each instance, and of Redis, for the same events to the same tabs."""
    executions = await stage.executions(stage.size(200, 20), events=1)
    rounds, tabs = stage.size(100, 5), 5
    async with AsyncExitStack() as stack:
        gateways = [await stack.enter_async_context(stage.gateway()) for _ in range(instances)]
        for number, gateway in enumerate(gateways):
            await gateway.crowd.open(executions[number::instances] * tabs, replayed=1)
        return await _publish(stage, gateways, executions, rounds, share=tabs)


async def _ignore(stage: Stage, instances: int, *, with_ids: bool) -> tuple[float, float]:
    """CPU seconds of one instance, and of Redis, per event."""
    count, rounds = stage.size(100, 10), stage.size(100, 10)
    executions = await stage.executions(count, events=1)
    async with AsyncExitStack() as stack:
        gateways = [await stack.enter_async_context(stage.gateway()) for _ in range(instances)]
        for gateway in gateways:
            # One tab tells how far its gateway has come.
            await gateway.crowd.open(executions[-1:], replayed=1)
        costs, redis = await _publish(
            stage, gateways, executions, rounds, share=instances / count, with_ids=with_ids
        )
    return sum(costs) / instances / (count * rounds), redis / (count * rounds)


async def _publish(
    stage: Stage, gateways: list[Gateway], executions: list[str], rounds: int, share: float,
    *, with_ids: bool = True,
) -> tuple[list[float], float]:  # fmt: skip
    """Publish *rounds* events for each execution, of which *share* times as many are seen."""
    envelopes, publisher = await stage.envelopes(executions), await stage.publisher()
    redis_pid = int((await stage.redis.info("server"))["process_id"])
    before = [gateway.cpu for gateway in gateways]
    redis_before = cpu_seconds(redis_pid)
    seen = [gateway.crowd.events for gateway in gateways]
    per_gateway = share * len(executions) / len(gateways)
    for number in range(rounds):
        begin, end = number * len(executions), (number + 1) * len(executions)
        messages = (
            envelopes.make(begin, end) if with_ids else [message() for _ in range(begin, end)]
        )
        await publisher.publish(executions, messages)
        for gateway, already in zip(gateways, seen, strict=True):
            # Redis drops a subscriber that lags too far behind.
            await gateway.crowd.seen(already + round(max(0, number - 10) * per_gateway))
    for gateway, already in zip(gateways, seen, strict=True):
        await gateway.crowd.seen(already + round(rounds * per_gateway))
    await publisher.close()
    costs = [gateway.cpu - one for gateway, one in zip(gateways, before, strict=True)]
    return costs, cpu_seconds(redis_pid) - redis_before
