"""How long a soak lasts, how much is going on in it, and under which settings."""

from dataclasses import dataclass

from gateway.contract.scripts import HistoryLimits
from tests.delivery.journal import Allowed
from tests.delivery.stage import Scenario
from tests.soak.backend import Failover
from tests.soak.habits import crowd

HISTORY_SECONDS = 45.0
"""How long a history is kept after its end: short, so that a soak sees them go."""

POOL = 8
"""Connections to Redis that a gateway may open beside the one of its subscription."""

STREAMS_PER_SUBJECT = 3
"""The limit that one kind of visitor uses up. Each other tab has a subject of its own."""

_LIMITS = HistoryLimits(history_ttl_ms=int(HISTORY_SECONDS * 1000))

_SETTINGS = {
    "GATEWAY_ADMIN_PORT": "0",
    "GATEWAY_OWNERSHIP": "registry",
    "GATEWAY_OWNERSHIP_WAIT_SECONDS": "1",
    "GATEWAY_HISTORY_TTL_SECONDS": str(HISTORY_SECONDS),
    "GATEWAY_REDIS_POOL_SIZE": str(POOL),
    # Counted over all instances, in Redis: far more than there are, so that it is only counted.
    "GATEWAY_MAX_STREAMS_PER_ORGANIZATION": "100000",
    "GATEWAY_MAX_STREAMS_PER_SUBJECT": str(STREAMS_PER_SUBJECT),
    # Small, so that readers who stop are noticed: else the kernel takes it all for them.
    "GATEWAY_QUEUE_EVENTS": "32",
    "GATEWAY_SEND_BUFFER_BYTES": "4096",
    "GATEWAY_WRITE_TIMEOUT_SECONDS": "2",
    "GATEWAY_DRAIN_SECONDS": "1",
    "GATEWAY_HEARTBEAT_SECONDS": "1",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """Times in seconds."""

    round_seconds: float
    """Executions and faults go on for so long, then nothing does. In the first round gateways are
    restarted."""
    rounds: int
    warm: int = 1
    """The round, counted from 0, whose end all later ones are compared with."""
    executions: int = 12
    """That run at the same time."""
    tabs: int = 24
    """Of each execution."""
    execution_seconds: float = 12.0
    """Of an execution, on average."""
    complete: bool = True
    """Long enough for every kind of visit to happen."""
    visitors: int = 10
    """Clients that do other things than watching."""
    rest: float = 12.0
    """From the end of a round until its figures are read: gateways keep the end of a history for
    ten seconds, for readers that come back."""

    @property
    def scenario(self) -> Scenario:
        """The readers and the settings, as `tests.delivery` takes them."""
        return Scenario(
            _nothing,
            kinds=(),
            readers=crowd(self.tabs),
            allowed=Allowed(closings=frozenset({"drain", "unavailable"}), cuts=True, resets=True),
            bare_in_order=False,
            backend=Failover,
            settings=_SETTINGS,
            limits=_LIMITS,
        )


async def _nothing(_: object) -> None:
    """A soak has faults of its own."""


def plan(minutes: float) -> Plan:
    """A round takes about a minute, and there are four at least; *minutes* is for all of them."""
    rounds = max(4, round(minutes * 60 / 75))
    return Plan(round_seconds=minutes * 60 / rounds, rounds=rounds)


SHORT = Plan(
    round_seconds=2.0,
    rounds=2,
    warm=0,
    executions=3,
    tabs=11,
    execution_seconds=3.0,
    complete=False,
    visitors=4,
    rest=0.0,
)
"""For a test that a soak works."""
