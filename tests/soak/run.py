"""A soak: rounds of faults, and after each one the figures of gateways that have nothing to do."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.soak.claims import Claim, of_errors, of_events, of_gateway, of_redis
from tests.soak.faults import disturb, faults_of
from tests.soak.figures import Figures, look
from tests.soak.plan import Plan
from tests.soak.redis_figures import leftovers
from tests.soak.stage import Fault, SoakStage
from tests.soak.visitors import KINDS, visitor

_QUIET_WITHIN = 30.0
"""Seconds after a round at which a gateway is looked at as it is, quiet or not."""

_APART = 0.5
"""Seconds between two looks that must show the same."""

Say = Callable[[str], None]


@dataclass
class Soak:
    """The result."""

    seed: int
    looks: list[list[Figures]] = field(default_factory=list)
    """After each round, of each gateway."""
    claims: list[Claim] = field(default_factory=list)
    counted: dict[str, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    """Lines of the gateways' logs at ERROR or above."""
    broken: BaseException | None = None
    """What ended it early: a reader got what it must not get, or did not get what it had to."""

    @property
    def passed(self) -> bool:
        return self.broken is None and all(claim.holds for claim in self.claims)


async def soak(plan: Plan, seed: int, say: Say) -> Soak:
    """Run all rounds; *say* gets a line about each."""
    result = Soak(seed)
    stage = SoakStage(plan, seed)
    result.faults = stage.faults
    try:
        await stage.open()
        for number in range(plan.rounds):
            await _round(stage, number, say)
            result.looks.append(await look_at_all(stage, plan.rest))
            say("  " + "; ".join(map(_in_short, result.looks[-1])))
        result.claims = await _claims(stage, result.looks[plan.warm :])
    except Exception as error:
        result.broken = error
    finally:
        result.counted = dict(stage.counted)
        result.errors = [line for gateway in stage.gateways for line in gateway.errors]
        await stage.close()
    return result


async def _round(stage: SoakStage, number: int, say: Say) -> None:
    faults = faults_of(number)
    say(f"round {number + 1} of {stage.plan.rounds}: {', '.join(one.__name__ for one in faults)}")
    async with stage.running_executions() as tasks:
        for one in range(stage.plan.visitors):
            tasks.create_task(visitor(stage, f"visitor-{number}-{one}"))
        await disturb(stage, faults, stage.plan.round_seconds)


async def look_at_all(stage: SoakStage, rest: float) -> list[Figures]:
    """What each gateway holds once it is quiet, *rest* seconds after everybody has left."""
    await asyncio.sleep(rest)
    deadline = asyncio.get_running_loop().time() + _QUIET_WITHIN
    before = await _look(stage)
    while True:
        await asyncio.sleep(_APART)
        now = await _look(stage)
        quiet = all(not one.streams and not one.sockets for one in now)
        if (quiet and _same(before, now)) or asyncio.get_running_loop().time() > deadline:
            return now
        before = now


async def _look(stage: SoakStage) -> list[Figures]:
    return [await look(f"gateway {n + 1}", one) for n, one in enumerate(stage.gateways)]


def _same(before: list[Figures], now: list[Figures]) -> bool:
    def shown(figures: list[Figures]) -> list[tuple[int, int]]:
        return [(one.tasks, one.descriptors) for one in figures]

    return shown(before) == shown(now)


async def _claims(stage: SoakStage, looks: Sequence[Sequence[Figures]]) -> list[Claim]:
    errors = [line for gateway in stage.gateways for line in gateway.errors]
    rounds = range(stage.plan.rounds)
    expected = [f"fault: {one.__name__}" for number in rounds for one in faults_of(number)]
    if stage.plan.complete:
        expected += [f"visit: {one.__name__}" for one in KINDS]
    return [
        *[claim for process in zip(*looks, strict=True) for claim in of_gateway(process)],
        of_errors(errors),
        *of_redis(await leftovers(stage.redis), stage.ends, time.time()),
        *of_events(stage.counted, expected),
    ]


def _in_short(one: Figures) -> str:
    return (
        f"{one.gateway}: {one.opened} streams so far, {one.streams} open, {one.tasks} tasks, "
        f"{one.descriptors} descriptors, {one.rss / 2**20:.1f} MiB"
    )
