"""Whether this gateway can be trusted to deliver, in one object for whoever asks.

Healthy is only what has just been shown: a canary that came back, a confirmed subscription, and
every background task alive. It does not speak HTTP.
"""

from dataclasses import dataclass

from gateway.bus.canary import STALE_AFTER, Canary
from gateway.bus.feed import Feed
from gateway.bus.recorder import Recorder
from gateway.bus.subscription import Subscription
from gateway.tasks import Supervisor

STUCK_AFTER = 30.0
"""Seconds that the feed may take for one batch while Redis answers: many times the deadline of the
longest wait that is meant (`gateway.bus.recorder.REFUSAL_DEADLINE`)."""


@dataclass(frozen=True, slots=True)
class HealthStatus:
    """`redis` and `reasons` as `GET /api/v1/sse/health` shows them."""

    redis_connected: bool
    reasons: tuple[str, ...]

    @property
    def healthy(self) -> bool:
        return not self.reasons


class Health:
    """Asks the parts that can fail."""

    def __init__(
        self,
        supervisor: Supervisor,
        subscription: Subscription,
        canary: Canary,
        feed: Feed,
        recorder: Recorder | None,
    ) -> None:
        self._supervisor = supervisor
        self._subscription = subscription
        self._canary = canary
        self._feed = feed
        self._recorder = recorder

    def status(self) -> HealthStatus:
        """The state now; costs no I/O, so it can be asked as often as anybody likes."""
        redis = self._subscription.problem or self._canary.problem
        held_up = self._held_up() if redis is not None else None
        if held_up is not None:
            redis = None
        unrecorded = self._recorder.problem if self._recorder is not None else None
        reasons = [redis, held_up, unrecorded, *self._supervisor.failures.values()]
        return HealthStatus(redis is None, tuple(reason for reason in reasons if reason))

    def _held_up(self) -> str | None:
        """In words, that canaries have come from Redis and wait behind a batch, as events do."""
        busy = self._feed.busy_for
        redis_answers = self._subscription.problem is None and self._canary.published
        if not redis_answers or self._canary.age - busy >= STALE_AFTER:
            return None
        return f"Events wait, for {busy:.0f} s now, until those before them are recorded."

    def stuck(self) -> str | None:
        """In words, what only a restart can mend: a dead task, or a feed that no longer moves.

        A Redis that is away is none of that: a restart would cut every stream and find it as far
        away as before.
        """
        for failure in self._supervisor.failures.values():
            return failure
        redis_answers = self._subscription.problem is None and self._canary.published
        if redis_answers and self._feed.busy_for > STUCK_AFTER:
            return (
                f"The feed has been at one batch for {self._feed.busy_for:.0f} s, though Redis "
                "answers; restart the gateway."
            )
        return None
