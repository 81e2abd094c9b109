"""The questions to Redis of each second, in one pipeline.

A redis-py command costs ten times what it costs within a pipeline, and its answer one wake-up more.
To ask something else regularly, `add` it.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from redis.asyncio import Redis

from gateway.bus.cluster import Cluster
from gateway.bus.errors import REDIS_ERRORS, is_loss
from gateway.bus.node import Node
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
    node: Node | None = None
    """Of a cluster, which node is asked, where the command has no key."""


class Questions:
    """The regular questions of one gateway."""

    def __init__(self, redis: Redis, ticker: Ticker) -> None:
        """They are sent once *ticker* runs, and what fails is reported to it by name."""
        self._redis = redis
        self._ticker = ticker
        self.askers: dict[str, tuple[Callable[[], Sequence[Question]], int]] = {}
        """Who asks, by name, in this order, and in every how many rounds."""
        self._left: Counter[str] = Counter()
        """Rounds until each of them asks."""
        self._is_due = False
        ticker.every(INTERVAL, "shared pipeline", self.send_now)

    def add(self, name: str, ask: Callable[[], Sequence[Question]], every: int = 1) -> None:
        """Call *ask* before the next pipeline, and then before each *every*-th, for what to ask."""
        self.askers[name] = (ask, every)
        self._ticker.expect(name)

    def ask_soon(self, name: str) -> None:
        """Call what was added as *name* before the next pipeline."""
        self._left[name] = 0

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
        for name, (ask, every) in self.askers.items():
            self._left[name] -= 1
            if self._left[name] > 0:
                continue
            self._left[name] = every
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


class ClusterQuestions(Questions):
    """The same on a cluster: a pipeline for each node, and none waits for another one's answers."""

    def __init__(self, cluster: Cluster, ticker: Ticker) -> None:
        super().__init__(cluster, ticker)
        self._cluster = cluster
        self._waiting: dict[Node | None, deque[tuple[str, Question]]] = {}

    def send_now(self) -> None:
        """Do not wait for the next second."""
        for name, question in self._collect():
            node = question.node or self._cluster.place_of(question.command)
            self._waiting.setdefault(node, deque()).append((name, question))
        for node in self._waiting:
            name = "round trip" if node is None else f"round trip to {node.id[:8]}"
            self._ticker.start(name, partial(self._send_to, node))

    async def _send_to(self, node: Node | None) -> None:
        waiting = self._waiting[node]
        while waiting:
            part = [waiting.popleft() for _ in range(min(_AT_ONCE, len(waiting)))]
            answers = await self._ask_at(node, part)
            if all(is_loss(one) for one in answers):
                # It has no answer to the others either.
                answers += [answers[0]] * len(waiting)
                part += waiting
                waiting.clear()
            self._give(part, answers)
        # The node may be gone.
        del self._waiting[node]

    async def _ask_at(self, node: Node | None, part: Sequence[tuple[str, Question]]) -> list[Any]:
        commands = [question.command for _, question in part]
        try:
            async with asyncio.timeout(DEADLINE):
                answers = await self._cluster.exchange(commands, node)
        except TimeoutError as error:
            return [error] * len(part)
        return [
            one if isinstance(one, Exception) else await self._cluster.read(command[0], one, {})
            for command, one in zip(commands, answers, strict=True)
        ]


def questions_of(redis: Redis, ticker: Ticker) -> Questions:
    """Those of a gateway whose client is *redis*."""
    return (
        ClusterQuestions(redis, ticker) if isinstance(redis, Cluster) else Questions(redis, ticker)
    )
