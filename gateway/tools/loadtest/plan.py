"""Where a load test goes and what it does there, as immutable values. It does nothing itself.

`rate` counts the events published per second over all executions together, as an operator counts
what the workflow engine produces. Each reaches the tabs of its execution, so the gateway delivers
`rate * tabs / executions` events per second.
"""

import random
import secrets
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from gateway.contract import keys
from gateway.errors import GatewayError
from gateway.settings import check_redis_url
from gateway.tools.loadtest.findings import Slo

_MARGIN_SECONDS = 3600

Habit = Literal["reads", "slow", "frozen"]
"""How a tab reads: all at once, a little now and then, or never."""


class BadPlan(GatewayError):
    """The load test cannot be run as asked; `str(error)` says what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A gateway, the Redis that it listens on, and credentials for it."""

    url: str
    """Up to where the contract's path begins; http or https."""
    publish_url: str = field(repr=False)
    organization: str
    token: str = field(repr=False)
    channel_prefix: str = "execution:"
    insecure: bool = False
    """Do not verify the certificate of an https URL."""

    def __post_init__(self) -> None:
        try:
            usable = self.address.scheme in ("http", "https") and self.host and self.port
        except ValueError:
            usable = False
        if not usable or self.address.query:
            raise BadPlan(
                "The URL must look like http://127.0.0.1:8080 or https://app.example.com."
            )
        try:
            check_redis_url(self.publish_url)
        except ValueError as error:
            raise BadPlan(f"The Redis URL to publish to cannot be used: {error}") from None
        if not (self.token + self.organization).isprintable():
            raise BadPlan("The token or the organization has a character no header can hold.")

    @property
    def address(self) -> SplitResult:
        return urlsplit(self.url)

    @property
    def host(self) -> str:
        return self.address.hostname or ""

    @property
    def port(self) -> int:
        return self.address.port or (443 if self.address.scheme == "https" else 80)

    def channel(self, execution_id: str) -> str:
        return keys.channel(self.channel_prefix, execution_id)

    def request(self, execution_id: str, cursor: str = "") -> bytes:
        """What a tab sends, credentials in headers so that no log of a proxy holds the token;
        *cursor*: the last id that it has seen, if it comes back."""
        address = self.address
        path = f"{address.path.rstrip('/')}/api/v1/sse/executions/{execution_id}/stream"
        lines = (
            f"GET {path} HTTP/1.1",
            f"Host: {address.netloc.rpartition('@')[2]}",
            "Accept: text/event-stream",
            "Cache-Control: no-cache",
            f"Authorization: Bearer {self.token}",
            f"X-Organization-ID: {self.organization}",
            *([f"Last-Event-ID: {cursor}"] if cursor.isprintable() and cursor else []),
        )
        return "\r\n".join((*lines, "", "")).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """N tabs on M executions, spread evenly, each execution with the same number of events."""

    tabs: int
    executions: int
    events: int
    """Per execution, the terminal event included."""
    rate: float
    """Events published per second, all executions together."""
    patience: float = 20.0
    """Seconds without any sign of life after which a tab has not opened, or not ended."""
    ramp_up: float = 0.0
    """Seconds over which the tabs open."""
    slow: float = 0.0
    """Share (0 to 1) of the tabs that read a little now and then."""
    frozen: float = 0.0
    """Share of the tabs that never read."""
    reload: float = 0.0
    """Share of the others that load their page anew, once each."""
    storm: bool = False
    """Drop all tabs at once, halfway through."""
    slos: tuple[Slo, ...] = ()
    run_id: str = field(default_factory=lambda: secrets.token_hex(4))
    """Keeps this run's executions apart from those of any other."""

    @property
    def total(self) -> int:
        """Events that are published in all."""
        return self.executions * self.events

    @property
    def duration(self) -> float:
        """Seconds that the publishing takes if the pace is kept."""
        return self.total / self.rate

    def habits(self) -> list[Habit]:
        """One for each tab, evenly mixed, whatever their executions."""
        slow, frozen = round(self.tabs * self.slow), round(self.tabs * self.frozen)
        habits: list[Habit] = []
        habits += ["slow"] * slow
        habits += ["frozen"] * frozen
        habits += ["reads"] * (self.tabs - slow - frozen)
        # Spreads load, guards nothing; the same in each run of one size.
        random.Random(self.tabs).shuffle(habits)  # noqa: S311
        return habits

    @property
    def lifetime(self) -> float:
        """Seconds that the run's token and registrations are good for: more than it can take."""
        return self.ramp_up + self.duration + _MARGIN_SECONDS

    def execution_ids(self) -> list[str]:
        return [f"loadtest-{self.run_id}-{number}" for number in range(1, self.executions + 1)]
