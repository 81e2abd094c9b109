"""How much one core delivers when there is always more to deliver."""

from tests.bench.figures import Figure
from tests.bench.messages import message
from tests.bench.stage import Stage

_AHEAD = 50
"""Events published that have not reached all tabs yet: enough to keep the gateway busy."""


async def play(stage: Stage) -> None:
    """1,000 tabs of one execution, and a publisher that is always ahead."""
    count, events = stage.size(1000, 50), stage.size(3000, 200)
    [execution] = await stage.executions(1, events=1)
    async with stage.gateway() as gateway:
        crowd = gateway.crowd
        await crowd.open([execution] * count, replayed=1)
        publisher = await stage.publisher()
        seen, used = crowd.events, gateway.cpu
        for number in range(events):
            await crowd.seen(seen + (number - _AHEAD) * count)
            await publisher.publish([execution], [message()])
        await crowd.seen(seen + events * count)
        rate = events * count / (gateway.cpu - used)
        await publisher.close()
    stage.add(Figure("delivered at saturation", rate, "events/CPU-s", least=90_000))
