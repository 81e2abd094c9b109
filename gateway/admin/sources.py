"""What the operators' address reads.

Apart from `exposition`, which imports prometheus_client: a start does without that.
"""

from dataclasses import dataclass

from gateway.access.control import AccessControl
from gateway.bus.canary import Canary
from gateway.bus.drops import Drops
from gateway.bus.health import Health
from gateway.bus.presence import Presence
from gateway.bus.shards import AnySubscription
from gateway.fanout.hub import Hub
from gateway.http.poll_budget import Budget
from gateway.lists.listings import Listings
from gateway.metrics import Metrics
from gateway.tasks import Supervisor


@dataclass(frozen=True, slots=True)
class Sources:
    """The components that are read; nothing here is ever written to."""

    metrics: Metrics
    hub: Hub
    health: Health
    subscription: AnySubscription
    canary: Canary
    supervisor: Supervisor
    polls: Budget
    lists: Listings
    drops: Drops
    presence: Presence
    access: AccessControl

    def not_ready(self) -> list[str]:
        """Why no new stream should be sent here, as sentences; empty while the gateway is ready."""
        reasons = [one.sentence for one in self.health.status().problems if not one.only_degrades]
        if self.hub.draining:
            reasons.insert(0, "The gateway is stopping: it is closing its streams.")
        return reasons

    def degraded(self) -> list[str]:
        """What is wrong though new streams may be sent here: no other gateway could do better."""
        return list(self.health.status().reasons)

    def not_live(self) -> list[str]:
        """Why the gateway should be restarted, as sentences; empty while no restart would help."""
        stuck = self.health.stuck()
        return [stuck] if stuck else []
