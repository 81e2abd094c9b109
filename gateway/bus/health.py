"""Whether this gateway can deliver events, for the health endpoint, metrics and systemd.

Healthy means: a canary came back lately, Redis has confirmed the subscription, every background
task is alive, and no regular function fails.
"""

from dataclasses import dataclass

from gateway.bus.canary import STALE_AFTER, Canary
from gateway.bus.feed import Feed
from gateway.bus.recorder import Recorder
from gateway.bus.subscription import Subscription
from gateway.tasks import Supervisor
from gateway.ticker import Ticker

STUCK_AFTER = 30.0
"""Seconds that the feed may take for one batch while Redis answers: many times the longest
intended wait (`gateway.bus.recorder.REFUSAL_DEADLINE`)."""


@dataclass(frozen=True, slots=True)
class HealthStatus:
    """`redis` and `reasons` as `GET /api/v1/sse/health` shows them."""

    redis_connected: bool
    reasons: tuple[str, ...]

    @property
    def healthy(self) -> bool:
        return not self.reasons


class Health:
    """Asks every component that can fail."""

    def __init__(
        self,
        supervisor: Supervisor,
        subscription: Subscription,
        canary: Canary,
        feed: Feed,
        recorder: Recorder | None,
        ticker: Ticker,
    ) -> None:
        self._supervisor = supervisor
        self._ticker = ticker
        self._subscription = subscription
        self._canary = canary
        self._feed = feed
        self._recorder = recorder

    def status(self) -> HealthStatus:
        """The state now; costs no I/O."""
        redis = self._subscription.problem or self._canary.problem
        busy = self._feed.busy_for
        delayed = None
        # The canaries came back from Redis, and wait behind the feed's batch as events do.
        if redis is not None and self._redis_answers and self._canary.age - busy < STALE_AFTER:
            redis = None
            delayed = f"Events wait, for {busy:.0f} s now, until those before them are recorded."
        unrecorded = self._recorder.problem if self._recorder is not None else None
        failed = (*self._supervisor.failures.values(), *self._ticker.failures.values())
        reasons = [redis, delayed, unrecorded, *failed]
        return HealthStatus(redis is None, tuple(reason for reason in reasons if reason))

    def stuck(self) -> str | None:
        """What only a restart can repair, as a sentence: a dead task, or a feed that hangs.

        Not a Redis that is away: a restart would cut every stream, and Redis would still be away.
        """
        for failure in self._supervisor.failures.values():
            return failure
        if self._redis_answers and self._feed.busy_for > STUCK_AFTER:
            return (
                f"The feed has been at one batch for {self._feed.busy_for:.0f} s, though Redis "
                "answers; restart the gateway."
            )
        return None

    @property
    def _redis_answers(self) -> bool:
        return self._subscription.problem is None and self._canary.published
