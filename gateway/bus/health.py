"""Whether this gateway can deliver events, for the health endpoint, metrics and systemd.

Healthy means: a canary came back lately, Redis has confirmed the subscription, it is the right
server and records, tokens can be checked, every background task is alive, and no regular function
fails.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from gateway.bus.canary import STALE_AFTER
from gateway.bus.intake import Intake
from gateway.bus.probe import only_degrades
from gateway.tasks import Supervisor
from gateway.ticker import Ticker

STUCK_AFTER = 30.0
"""Seconds that the feed may take for one batch while Redis answers: many times the longest
intended wait (`gateway.bus.recorder.REFUSAL_DEADLINE`)."""

KINDS = ("redis", "node", "server", "feed", "recording", "keys", "task", "function")
"""Of problems; a label of a metric."""


class Problem(NamedTuple):
    """One thing that is wrong."""

    kind: str
    """One of `KINDS`."""
    sentence: str
    only_degrades: bool = False
    """Streams open all the same, and no other gateway could do better."""


@dataclass(frozen=True, slots=True)
class HealthStatus:
    """`redis` and `reasons` as `GET /api/v1/sse/health` shows them."""

    problems: tuple[Problem, ...]

    @property
    def redis_connected(self) -> bool:
        return all(one.kind != "redis" for one in self.problems)

    @property
    def reasons(self) -> tuple[str, ...]:
        return tuple(one.sentence for one in self.problems)

    @property
    def healthy(self) -> bool:
        return not self.problems


@dataclass(frozen=True)
class Health:
    """Asks every component that can fail."""

    _supervisor: Supervisor
    _ticker: Ticker
    _intake: Intake
    _keys_problem: Callable[[], str | None]

    def status(self) -> HealthStatus:
        """The state now; costs no I/O."""
        return HealthStatus(tuple(self._problems()))

    def _problems(self) -> Iterator[Problem]:
        intake = self._intake
        redis = intake.subscription.problem or intake.canary.problem
        busy = intake.feed.busy_for
        # The canaries came back from Redis, and wait behind the feed's batch as events do.
        if redis and self._redis_answers and intake.canary.age - busy < STALE_AFTER:
            delayed = f"Events wait, for {busy:.0f} s now, until those before them are recorded."
            yield Problem("feed", delayed, only_degrades=intake.probe.refusal is not None)
        elif redis:
            yield Problem("redis", redis)
        elif late := intake.late_problem:
            yield Problem("feed", late, only_degrades=True)
        # No other gateway could do better, and the executions of the other nodes go on.
        yield from (Problem("node", one, only_degrades=True) for one in intake.node_problems)
        if server := intake.probe.server_problem:
            yield Problem("server", server)
        else:
            yield from self._unrecorded()
        if keys := self._keys_problem():
            yield Problem("keys", keys)
        yield from (Problem("task", one) for one in self._supervisor.failures.values())
        yield from (Problem("function", one) for one in self._ticker.failures.values())

    def _unrecorded(self) -> Iterator[Problem]:
        for source in (self._intake.recorder, self._intake.probe):
            if source is not None and source.refusal is not None and source.problem is not None:
                yield Problem("recording", source.problem, only_degrades(source.refusal))
                return

    def stuck(self) -> str | None:
        """What only a restart can repair, as a sentence: a dead task, or a feed that hangs.

        Not a Redis that is away: a restart would cut every stream, and Redis would still be away.
        """
        for failure in self._supervisor.failures.values():
            return failure
        busy = self._intake.feed.busy_for
        if self._redis_answers and busy > STUCK_AFTER:
            return (
                f"The feed has been at one batch for {busy:.0f} s, though Redis answers; "
                "restart the gateway."
            )
        return None

    @property
    def _redis_answers(self) -> bool:
        return self._intake.subscription.problem is None and self._intake.canary.published
