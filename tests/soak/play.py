"""The course of a soak: faults of every kind, a quiet moment to begin from, faults again, the end.

Gateways are restarted in the first part alone: what a process takes can only be compared with what
the same process took before.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.soak.figures import Figures, Line, compare
from tests.soak.people import Account
from tests.soak.stage import Stage

_FIRST_PART = 1 / 3
"""Of the time, with the faults that end processes."""

Fault = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a soak has found."""

    lines: list[Line]
    account: Account
    unexpected: list[str]
    faults: dict[str, int]
    """How often each fault was played."""

    @property
    def is_well(self) -> bool:
        return (
            all(line.is_well for line in self.lines)
            and not self.account.faults
            and not self.unexpected
            and self.account.checked > 0
        )


async def soak(seconds: float, seed: int, say: Callable[[str], None] = lambda _: None) -> Outcome:
    """Play for about so many *seconds*; *say* is told what happens."""
    stage = Stage(seed)
    played: dict[str, int] = {}
    try:
        await stage.open()
        await _part(
            stage,
            seconds * _FIRST_PART,
            [stage.rolling_restart, stage.failover, stage.killed, stage.reload],
            played,
            say,
        )
        began = await _quiet(stage, say)
        await _part(
            stage,
            seconds * (1 - _FIRST_PART),
            [stage.subscription_cut, stage.failover, stage.reload],
            played,
            say,
        )
        ended = await _quiet(stage, say)
        lines = [
            line
            for number, (before, after) in enumerate(zip(began, ended, strict=True), start=1)
            for line in compare(f"gateway {number}", before, after)
        ]
        return Outcome(lines, stage.account, stage.unexpected(), played)
    finally:
        await stage.close()


async def _part(
    stage: Stage,
    seconds: float,
    faults: list[Fault],
    played: dict[str, int],
    say: Callable[[str], None],
) -> None:
    """People and faults for so many *seconds*, and at least once each fault."""
    until = time.monotonic() + seconds
    pause = min(20.0, seconds / (len(faults) + 1))
    async with stage.busy():
        turn = 0
        while turn < len(faults) or time.monotonic() < until - pause:
            await asyncio.sleep(pause)
            fault = faults[turn % len(faults)]
            name = getattr(fault, "__name__", "fault")
            say(f"{name.replace('_', ' ')} …")
            await fault()
            played[name] = played.get(name, 0) + 1
            turn += 1
        await asyncio.sleep(max(pause, until - time.monotonic()))


async def _quiet(stage: Stage, say: Callable[[str], None]) -> list[Figures]:
    say("quiet …")
    return await stage.quiet()
