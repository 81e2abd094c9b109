"""`python -m tests.bench.cores`: what several gateways on one Redis cost, and what they gain.

All gateways share one core here and what is shown is the CPU time of each, so it holds for gateways
with a core each, but for what they would share there: caches and memory. Not part of `make bench`,
which measures one process.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop

from tests.bench.__main__ import machine, show
from tests.bench.figures import Figure, to_json
from tests.bench.fleet import Fleet, fleet
from tests.bench.messages import message
from tests.bench.processes import CannotMeasure
from tests.bench.stage import Stage, stage

_STEADY = 1000
"""Events a second where the speed is given: gateways meet events almost singly."""


async def messages_for(
    gateways: Fleet, executions: Sequence[str], count: int, ids: bool
) -> list[bytes]:
    """As `Publisher` publishes them, or bare ones, which each gateway has recorded."""
    if not ids:
        return [message() for _ in range(count)]
    return await gateways.with_ids(executions, count)


async def play_idle(made: Stage, count: int, ids: bool, steady: bool) -> None:
    """What an event costs *count* gateways at each of which nobody watches it."""
    executions = await made.executions(made.size(1000, 20), events=1)
    total = made.size(4000 if steady else 20_000, 400)
    async with fleet(made, count) as gateways:
        for one in gateways.gateways:
            # One tab a gateway, at one execution of all: it tells how far the gateway has come.
            await one.crowd.open(executions[-1:], replayed=1)
        messages = await messages_for(gateways, executions, total, ids)
        spent = await gateways.play(
            executions, messages, 1 / len(executions), rate=_STEADY if steady else 0
        )
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
            messages = await messages_for(gateways, executions, events, ids)
            spent = await gateways.play(
                executions, messages, tabs / len(watched), rate=_STEADY if steady else 0
            )
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
    before = await made.redis_cpu()
    for _ in range(rounds):
        await made.record(executions)
    cost = (await made.redis_cpu() - before) / rounds / len(executions)
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
