"""The parts of a gateway that operators ask about, as one object for the handlers of this room."""

from dataclasses import dataclass

from gateway.bus.canary import Canary
from gateway.bus.health import Health
from gateway.bus.subscription import Subscription
from gateway.fanout.hub import Hub
from gateway.http.poll_budget import Budget
from gateway.metrics import Metrics
from gateway.tasks import Supervisor


@dataclass(frozen=True, slots=True)
class Sources:
    """What is read; nothing here is ever written to."""

    metrics: Metrics
    hub: Hub
    health: Health
    subscription: Subscription
    canary: Canary
    supervisor: Supervisor
    polls: Budget

    def not_ready(self) -> list[str]:
        """In words, why no new stream should be sent here; empty while it is ready."""
        reasons = list(self.health.status().reasons)
        if self.hub.draining:
            reasons.insert(0, "The gateway is stopping: its streams are being sent away.")
        return reasons
