"""How many events one process takes in, when each reaches one tab or none.

Redis, the publisher and the tabs share the other cores, so two figures are given: what came through
in a second, and what the gateway alone would take in a second of its core.
"""

import time

from tests.bench.figures import Figure
from tests.bench.messages import Publisher, message
from tests.bench.stage import Gateway, Stage
from tests.harness.proc import cpu_seconds

_AT_ONCE = 250
_AHEAD = 5000
"""Events published that have not come through yet."""


async def play_recorded(stage: Stage) -> None:
    """Bare PUBLISHes, which the gateway records, to 1,000 tabs of 1,000 executions."""
    await _play(stage, "recorded events", with_ids=False, watched=True, least=15_000)


async def play_one(stage: Stage) -> None:
    """Bare PUBLISHes to one tab of one execution."""
    await _play(stage, "bare events to one tab", with_ids=False, watched=True, least=20_000, most=1)


async def play_ids(stage: Stage) -> None:
    """Events that were recorded by their producer, to 1,000 tabs of 1,000 executions."""
    await _play(stage, "events with ids", with_ids=True, watched=True, least=25_000)


async def play_unwatched(stage: Stage) -> None:
    """Events that were recorded by their producer and that nobody watches."""
    await _play(stage, "unwatched events with ids", with_ids=True, watched=False, least=40_000)


async def _play(
    stage: Stage, name: str, *, with_ids: bool, watched: bool, least: int, most: int = 1000
) -> None:
    count, total = min(stage.size(1000, 20), most), stage.size(60_000, 2000)
    executions = await stage.executions(count, events=1)
    async with stage.gateway() as gateway:
        # The last one tells how far the gateway has come when nobody watches the others.
        await gateway.crowd.open(executions if watched else executions[-1:], replayed=1)
        publisher = await stage.publisher()
        messages = await _messages(stage, gateway, executions, total, with_ids=with_ids)
        redis_pid = int((await stage.redis.info("server"))["process_id"])
        used, redis_used, begin = gateway.cpu, cpu_seconds(redis_pid), time.monotonic()
        await _pump(gateway, publisher, executions, messages, share=1 if watched else 1 / count)
        seconds = time.monotonic() - begin
        cost, redis_cost = gateway.cpu - used, cpu_seconds(redis_pid) - redis_used
        await publisher.close()
    stage.add(
        Figure(f"{name}, as they came through", total / seconds, "events/s", least=least),
        Figure(f"{name}, of the gateway's core", total / cost, "events/CPU-s"),
        Figure(f"{name}, of Redis' core", total / redis_cost, "events/CPU-s"),
    )


async def _messages(
    stage: Stage, gateway: Gateway, executions: list[str], total: int, *, with_ids: bool
) -> list[bytes]:
    """Made before the clock runs: the publisher shares a core with the tabs."""
    if not with_ids:
        return [message() for _ in range(total)]
    return (await stage.envelopes(executions, [gateway.crowd])).make(0, total)


async def _pump(
    gateway: Gateway, publisher: Publisher, executions: list[str], messages: list[bytes],
    share: float,
) -> None:  # fmt: skip
    """Publish *messages* in turn, never too far ahead of the *share* of them that is seen."""
    seen, count = gateway.crowd.events, len(executions)
    # One tab's queue and history hold 1,000: a tab that is further behind is closed.
    ahead = min(_AHEAD, 500 * count)
    for begin in range(0, len(messages), _AT_ONCE):
        await gateway.crowd.seen(seen + int((begin - ahead) * share))
        some = messages[begin : begin + _AT_ONCE]
        await publisher.publish([executions[(begin + n) % count] for n in range(len(some))], some)
    await gateway.crowd.seen(seen + int(len(messages) * share))
