"""What is asked of Redis every second, in one pipeline.

A redis-py command costs ten times what it costs within a pipeline, and its answer one wake-up more.
To ask something else regularly, `add` it.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from redis.asyncio import Redis

from gateway.bus.errors import REDIS_ERRORS
from gateway.ticker import Ticker

INTERVAL = 1.0
"""Seconds between two pipelines."""

DEADLINE = 3.0
"""Seconds after which a pipeline is given up."""

_AT_ONCE = 100
"""Commands in one pipeline. Events wait while its answers are read, so not too many."""


class Question(NamedTuple):
    """A command, and who gets the answer."""

    command: tuple[str | bytes | int, ...]
    answered: Callable[[Any], None]
    """Called with the answer, or with the error where Redis refused or was away."""


class Questions:
    """The regular questions of one gateway."""

    def __init__(self, redis: Redis, ticker: Ticker) -> None:
        """They are sent once *ticker* runs, and what fails is reported to it by name."""
        self._redis = redis
        self._ticker = ticker
        self.askers: dict[str, Callable[[], Sequence[Question]]] = {}
        """Who asks, by name, in this order."""
        self._is_due = False
        ticker.every(INTERVAL, "shared pipeline", self.send_now)

    def add(self, name: str, ask: Callable[[], Sequence[Question]]) -> None:
        """Call *ask* before each pipeline for what to ask."""
        self.askers[name] = ask

    def send_now(self) -> None:
        """Do not wait for the next second."""
        self._is_due = True
        self._ticker.start("round trip", self._send)

    async def _send(self) -> None:
        waiting: deque[tuple[str, Question]] = deque()
        while waiting or self._is_due:
            if self._is_due:
                self._is_due = False
                # Before what is left of the last second: that may be thousands.
                waiting.extendleft(reversed(self._collect()))
            part = [waiting.popleft() for _ in range(min(_AT_ONCE, len(waiting)))]
            try:
                answers = await self._ask(part)
            except REDIS_ERRORS as error:
                part += waiting
                waiting.clear()
                answers = [error] * len(part)
            self._give(part, answers)

    def _collect(self) -> list[tuple[str, Question]]:
        collected = []
        for name, ask in self.askers.items():
            try:
                questions = ask()
            except Exception as error:
                self._ticker.report(name, error)
            else:
                collected += [(name, question) for question in questions]
                if not questions:
                    self._ticker.report(name, None)
        return collected

    async def _ask(self, part: Sequence[tuple[str, Question]]) -> list[Any]:
        if not part:
            return []
        async with asyncio.timeout(DEADLINE), self._redis.pipeline(transaction=False) as pipeline:
            for _, question in part:
                pipeline.execute_command(*question.command)
            answers: list[Any] = await pipeline.execute(raise_on_error=False)
        return answers

    def _give(self, part: Sequence[tuple[str, Question]], answers: Sequence[Any]) -> None:
        errors: dict[str, Exception | None] = {}
        for (name, question), answer in zip(part, answers, strict=True):
            errors.setdefault(name, None)
            try:
                question.answered(answer)
            except Exception as error:
                errors[name] = error
        for name, failure in errors.items():
            self._ticker.report(name, failure)
