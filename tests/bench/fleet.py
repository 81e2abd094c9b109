"""Several gateways on one Redis, and one who publishes for them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from gateway.contract.keys import PublishTo, live_channel
from tests.bench.messages import Publisher
from tests.bench.stage import Gateway, Stage

_AT_ONCE = 100
_AHEAD = 2000
"""Events published at full speed that have not come through yet."""
_PAUSE = 0.01
"""Seconds between two writes of the publisher at a given rate."""

_CHANNELS: dict[PublishTo, Callable[[str], str]] = {
    "pattern": "execution:{}".format,
    "execution": live_channel,
}
"""Where events are published for each kind of subscription."""


@dataclass(frozen=True, slots=True)
class Spent:
    """CPU seconds of each gateway and of Redis."""

    gateways: list[float]
    redis: float


class Fleet:
    """Gateways with one *kind* of subscription on one Redis, and one who publishes for them."""

    def __init__(
        self,
        made: Stage,
        gateways: list[Gateway],
        publisher: Publisher,
        kind: PublishTo,
    ) -> None:
        self._stage = made
        self.gateways = gateways
        self._publisher = publisher
        self._kind = kind

    async def with_ids(self, executions: Sequence[str], count: int) -> list[bytes]:
        """*count* messages for *executions* in turn, once each of them has a second event."""
        crowds = [one.crowd for one in self.gateways]
        return (await self._stage.envelopes(executions, crowds, self._kind)).make(0, count)

    async def play(
        self, executions: Sequence[str], messages: Sequence[bytes], share: float, *, rate: int = 0,
        at_once: int = _AT_ONCE, ahead: int = _AHEAD,
    ) -> Spent:  # fmt: skip
        """Publish *messages* to *executions* in turn; each gateway's tabs together get *share* of
        them. *rate*: events a second; by default as fast as they come through, *at_once* in a write
        and at most so many *ahead*."""
        before, redis_before = [one.cpu for one in self.gateways], await self._stage.redis_cpu()
        seen = [one.crowd.events for one in self.gateways]
        step = int(rate * _PAUSE) or at_once
        begun = time.monotonic()
        for begin in range(0, len(messages), step):
            if rate:
                await asyncio.sleep(begun + begin / rate - time.monotonic())
            else:
                await self._came(seen, (begin - ahead) * share)
            some = messages[begin : begin + step]
            targets = [executions[(begin + n) % len(executions)] for n in range(len(some))]
            await self._publisher.publish(targets, some, _CHANNELS[self._kind])
        await self._came(seen, len(messages) * share)
        spent = [one.cpu - cpu for one, cpu in zip(self.gateways, before, strict=True)]
        return Spent(spent, await self._stage.redis_cpu() - redis_before)

    async def _came(self, before: list[int], events: float) -> None:
        """Wait until the tabs of each gateway have *events* more than *before*."""
        for one, seen in zip(self.gateways, before, strict=True):
            await one.crowd.seen(seen + int(events))


@asynccontextmanager
async def fleet(
    made: Stage, count: int, subscription: PublishTo = "pattern"
) -> AsyncIterator[Fleet]:
    """*count* gateways with this kind of *subscription*."""
    async with AsyncExitStack() as stack:
        # What is subscribed to one by one is not recorded.
        recording = {"record_bare_events": "off"} if subscription == "execution" else {}
        gateways = [
            await stack.enter_async_context(made.gateway(0, subscription=subscription, **recording))
            for _ in range(count)
        ]
        publisher = await made.publisher()
        stack.push_async_callback(publisher.close)
        yield Fleet(made, gateways, publisher, subscription)
