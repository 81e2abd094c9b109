"""Where a load test goes and what it does there, as immutable values.

`rate` counts the events published per second over all executions together, as an operator counts
what the workflow engine produces. Each event reaches the tabs of its execution, so the gateway
delivers `rate * tabs / executions` events per second.
"""

import random
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from gateway.contract import keys
from gateway.errors import GatewayError
from gateway.settings import check_redis_url

_MARGIN_SECONDS = 3600
_SLO = re.compile(r"(?P<name>p50|p95|p99|max|first)=(?P<number>\d+(?:\.\d+)?)(?P<unit>ms|s)")

Habit = Literal["reads", "slow", "frozen"]
"""How a tab reads: all at once, a little now and then, or never."""


class BadPlan(GatewayError):
    """The load test cannot run as requested; `str(error)` says what to change."""


def check_report(file: Path) -> None:
    """Whether the report can be written, asked before the test, which may take an hour.

    Raises:
        BadPlan: it cannot.
    """
    try:
        file.open("ab").close()
    except OSError as error:
        raise BadPlan(f"--report: {file} cannot be written: {error.strerror}.") from None


@dataclass(frozen=True, slots=True)
class Slo:
    """An objective: the most that a figure may be."""

    text: str
    name: str
    """`p50`, `p95`, `p99` or `max` of the latency; `first`: the p99 of the time to first event."""
    most_ms: float

    @classmethod
    def parse(cls, text: str) -> "Slo":
        """From `p99=250ms` or `first=1.5s`.

        Raises:
            ValueError: *text* has another form.
        """
        if (found := _SLO.fullmatch(text)) is None:
            raise ValueError(f"{text} is not an objective: write one like p99=250ms or first=1.5s.")
        factor = 1000.0 if found["unit"] == "s" else 1.0
        return cls(text, found["name"], float(found["number"]) * factor)

    def is_met(self, latency_ms: Mapping[str, float], first_ms: Mapping[str, float]) -> bool:
        """Whether the figure is small enough. False where nothing was measured."""
        found = first_ms["p99"] if self.name == "first" else latency_ms[self.name]
        return 0 < found <= self.most_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A gateway, the Redis that it listens on, and credentials for it."""

    url: str
    """Up to where the contract's path begins; http or https."""
    publish_url: str = field(repr=False)
    organization: str
    token: str = field(repr=False)
    channel_prefix: str = "execution:"
    publish_to: keys.PublishTo = "pattern"
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
            raise BadPlan(
                "The token or the organization has a character that a header cannot hold."
            )

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
        """What a tab sends; *cursor* is its last id. The credentials are in headers, so that no
        proxy's log holds the token."""
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
    idle_timeout: float = 20.0
    """Seconds that opening a stream may take, and that the end may be waited for without events."""
    ramp_up: float = 0.0
    """Seconds over which the tabs open."""
    slow: float = 0.0
    """Share (0 to 1) of the tabs that read a little now and then."""
    frozen: float = 0.0
    """Share of the tabs that never read."""
    reload: float = 0.0
    """Share of the others that reload their page, once each."""
    storm: bool = False
    """Drop all tabs at once, halfway through."""
    slos: tuple[Slo, ...] = ()
    run_id: str = field(default_factory=lambda: secrets.token_hex(4))
    """Distinguishes this run's executions from those of other runs."""

    @property
    def total(self) -> int:
        """Events that are published in all."""
        return self.executions * self.events

    @property
    def duration(self) -> float:
        """Seconds that publishing takes at the planned rate."""
        return self.total / self.rate

    @property
    def lifetime(self) -> float:
        """Seconds that the run's token and registrations are valid: longer than the run."""
        return self.ramp_up + self.duration + _MARGIN_SECONDS

    def habits(self) -> list[Habit]:
        """One for each tab, evenly mixed over the executions."""
        slow, frozen = round(self.tabs * self.slow), round(self.tabs * self.frozen)
        habits: list[Habit] = []
        habits += ["slow"] * slow
        habits += ["frozen"] * frozen
        habits += ["reads"] * (self.tabs - slow - frozen)
        # The same in each run of this size.
        random.Random(self.tabs).shuffle(habits)  # noqa: S311
        return habits

    def execution_ids(self) -> list[str]:
        return [f"loadtest-{self.run_id}-{number}" for number in range(1, self.executions + 1)]
