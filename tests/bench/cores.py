"""`python -m tests.bench.cores`: what several gateways on one Redis cost, and what they gain.

All gateways share one core here and what is told is the CPU time of each, so it holds for gateways
with a core each, but for what they would share there: caches and memory. Not part of `make bench`,
which measures one process.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import uvloop

from tests.bench.__main__ import machine, show
from tests.bench.figures import Figure, to_json
from tests.bench.processes import CannotMeasure
from tests.bench.stage import Gateway, Publisher, Stage, message, stage
from tests.harness.proc import cpu_seconds

_AT_ONCE = 100
_AHEAD = 2000
"""Events published at full speed that have not come through yet."""
_STEADY = 1000
"""Events a second where the speed is given."""
_PAUSE = 0.01
"""Seconds between two writes of the publisher then: gateways meet events almost singly."""


@dataclass(frozen=True, slots=True)
class Spent:
    """CPU seconds of each gateway and of Redis."""

    gateways: list[float]
    redis: float


async def redis_cpu(made: Stage) -> float:
    """CPU seconds that Redis has used."""
    return cpu_seconds(int((await made.redis.info("server"))["process_id"]))


class Fleet:
    """Gateways on one Redis, and one who publishes."""

    def __init__(self, made: Stage, gateways: list[Gateway], publisher: Publisher) -> None:
        self._stage = made
        self.gateways = gateways
        self._publisher = publisher

    async def play(
        self, executions: Sequence[str], messages: Sequence[bytes], steady: bool, share: float
    ) -> Spent:
        """Publish *messages* to *executions* in turn; each gateway's tabs together get *share* of
        them. At *steady* speed, or as fast as they come through."""
        before, redis_before = [one.cpu for one in self.gateways], await redis_cpu(self._stage)
        seen = [one.crowd.events for one in self.gateways]
        step = int(_STEADY * _PAUSE) if steady else _AT_ONCE
        begun = time.monotonic()
        for begin in range(0, len(messages), step):
            if steady:
                await asyncio.sleep(begun + begin / _STEADY - time.monotonic())
            else:
                await self._came(seen, (begin - _AHEAD) * share)
            some = messages[begin : begin + step]
            targets = [executions[(begin + n) % len(executions)] for n in range(len(some))]
            await self._publisher.publish(targets, some)
        await self._came(seen, len(messages) * share)
        spent = [one.cpu - cpu for one, cpu in zip(self.gateways, before, strict=True)]
        return Spent(spent, await redis_cpu(self._stage) - redis_before)

    async def _came(self, before: list[int], events: float) -> None:
        """Wait until the tabs of each gateway have *events* more than *before*."""
        for one, seen in zip(self.gateways, before, strict=True):
            await one.crowd.seen(seen + int(events))


@asynccontextmanager
async def fleet(made: Stage, count: int) -> AsyncIterator[Fleet]:
    """*count* gateways."""
    async with AsyncExitStack() as stack:
        gateways = [await stack.enter_async_context(made.gateway()) for _ in range(count)]
        publisher = await made.publisher()
        stack.push_async_callback(publisher.close)
        yield Fleet(made, gateways, publisher)


async def messages_for(
    made: Stage, executions: Sequence[str], count: int, ids: bool
) -> list[bytes]:
    """As `Publisher` publishes them, or bare ones, which each gateway has recorded."""
    if not ids:
        return [message() for _ in range(count)]
    return (await made.envelopes(executions)).make(0, count)


async def play_idle(made: Stage, count: int, ids: bool, steady: bool) -> None:
    """What an event costs *count* gateways at each of which nobody watches it."""
    executions = await made.executions(made.size(1000, 20), events=1)
    total = made.size(4000 if steady else 20_000, 400)
    async with fleet(made, count) as gateways:
        for one in gateways.gateways:
            # One tab a gateway, at one execution of all: it tells how far the gateway has come.
            await one.crowd.open(executions[-1:], replayed=1)
        messages = await messages_for(made, executions, total, ids)
        spent = await gateways.play(executions, messages, steady, 1 / len(executions))
    name = f"{count} idle, {_kind(ids, steady)}"
    made.add(
        Figure(f"{name}: gateway", sum(spent.gateways) / count / total * 1e6, "us CPU/event"),
        Figure(f"{name}: Redis", spent.redis / total * 1e6, "us CPU/event"),
    )


ARRANGEMENTS = ("one gateway", "two, hashed", "two, anywhere")
"""Where the tabs of an execution are: all at one gateway, as behind a hash, or half at each of two,
as under Gunicorn."""


async def play_growth(made: Stage, tabs: int, ids: bool, steady: bool) -> None:
    """How much more two gateways deliver than one, where each execution has *tabs* tabs."""
    alone = 0.0
    for arrangement in ARRANGEMENTS if tabs > 1 and made.full else ARRANGEMENTS[:2]:
        executions = await made.executions(made.size(1000, 40) // tabs, events=1)
        events = made.size(5000 if steady else 20_000, 400)
        watched = _watched(arrangement, executions, tabs)
        async with fleet(made, len(watched)) as gateways:
            for one, its_own in zip(gateways.gateways, watched, strict=True):
                await one.crowd.open(its_own, replayed=1)
            messages = await messages_for(made, executions, events, ids)
            spent = await gateways.play(executions, messages, steady, tabs / len(watched))
        # The busiest one is full first.
        rate = events * tabs / max(spent.gateways)
        alone = alone or rate
        name = f"{tabs} x {len(executions)} tabs, {_kind(ids, steady)}, {arrangement}"
        cost = sum(spent.gateways) / (events * tabs)
        made.add(
            Figure(f"{name}: cost", cost * 1e6, "us CPU/delivery"),
            Figure(f"{name}: a core each", rate, "deliveries/s"),
            Figure(f"{name}: growth", rate / alone, "x"),
        )


def _watched(arrangement: str, executions: list[str], tabs: int) -> list[list[str]]:
    """For each gateway, the execution of each of its tabs."""
    half = len(executions) // 2
    if arrangement == "one gateway":
        return [executions * tabs]
    if arrangement == "two, hashed":
        return [executions[:half] * tabs, executions[half:] * tabs]
    return [executions * (tabs // 2)] * 2


def _kind(ids: bool, steady: bool) -> str:
    return f"{'ids' if ids else 'bare'}, {f'{_STEADY}/s' if steady else 'full speed'}"


async def play_publisher(made: Stage) -> None:
    """What Redis pays for the script of `Publisher` alone: id, history and PUBLISH."""
    executions, rounds = await made.executions(made.size(1000, 20), events=1), made.size(10, 2)
    before = await redis_cpu(made)
    for _ in range(rounds):
        await made.record(executions)
    cost = (await redis_cpu(made) - before) / rounds / len(executions)
    made.add(Figure("the script of Publisher: Redis", cost * 1e6, "us CPU/event"))


async def play(made: Stage, most: int) -> None:
    """All of it, with up to *most* idle gateways; a short run has one of each kind."""
    await play_publisher(made)
    kinds = (True, False) if made.full else (True,)
    counts = [count for count in (1, 2, 4, 8) if count <= most] if made.full else [1]
    for ids in kinds:
        for steady in kinds:
            for tabs in (1, 20) if made.full else (20,):
                await play_growth(made, tabs, ids, steady)
            for count in counts:
                await play_idle(made, count, ids, steady)


def arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny: shows that it works")
    parser.add_argument("--most", type=int, default=8, help="idle gateways at the most")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    return parser.parse_args()


async def measure(asked: argparse.Namespace) -> Stage:
    async with stage(full=not asked.quick) as made:
        await play(made, asked.most)
        return made


def main() -> None:
    asked = arguments()
    try:
        made = uvloop.run(measure(asked))
    except CannotMeasure as error:
        sys.exit(str(error))
    show(made.figures, made.notes, None)
    if asked.json:
        asked.json.write_text(json.dumps(to_json(made.figures, machine()), indent=1))


if __name__ == "__main__":
    main()
