"""What each gateway writes beside its name in Redis: the settings in which all must agree.

It also shows that Redis has lost its data: what this gateway has written is gone then.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson
from redis.asyncio import Redis

from gateway.bus.errors import REDIS_ERRORS
from gateway.bus.questions import Question
from gateway.log import RateLimitedLog
from gateway.metrics import Metrics
from gateway.settings import Settings, variable

log = logging.getLogger(__name__)

# `!` is in no execution id, so no key of an execution can be this.
KEY = "sse:{!gateways}:settings"

AGREED = (
    "channel_prefix", "record_bare_events", "ownership", "terminal_types", "restart_types",
    "event_max_bytes", "history_max_events", "history_max_bytes", "history_ttl_seconds",
    "open_ttl_seconds",
)  # fmt: skip
"""Settings in which gateways on one Redis must agree: else an event comes twice, or what one
records another one trims."""

ROUNDS = 5
"""The shared pipelines, one a second, from one look to the next."""

FRESH_SECONDS = 60.0
"""How old, by the clock of this machine, what a gateway wrote may be while it runs."""

_STOPPED = 4
"""Looks without a change after which a gateway has stopped."""

_FORGET = 720
"""Looks after which what it wrote is deleted: an hour."""

_TTL_MS = 24 * 3600 * 1000


def agreed(settings: Settings) -> dict[str, Any]:
    """What must agree of *settings*, as JSON has it."""
    return settings.model_dump(mode="json", include=set(AGREED))


def read_document(document: bytes) -> tuple[float, dict[str, Any]]:
    """When a gateway wrote it, in seconds since the epoch, and its settings; of a foreign value
    that it was never written."""
    with suppress(ValueError, KeyError, TypeError):
        read = orjson.loads(document)
        return float(read["at"]), dict(read["settings"])
    return 0.0, {}


def differences(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """The settings in which they differ, with both values. A name that only one release knows does
    not count."""
    return [
        f"{variable(name)} is {_shown(mine[name])} here and {_shown(theirs[name])} there"
        for name in AGREED
        if name in mine and name in theirs and mine[name] != theirs[name]
    ]


def _shown(value: Any) -> str:
    return orjson.dumps(value).decode()


@dataclass(slots=True)
class _Other:
    """Another gateway, as it was at the last look."""

    document: bytes
    unchanged: int = _STOPPED
    """Looks since it last wrote something new."""


class Presence:
    """This gateway among the others, by regular `questions`."""

    def __init__(
        self, name: str, settings: Settings, metrics: Metrics, watched: Callable[[], int]
    ) -> None:
        """*watched*: how many executions are."""
        self._name = name
        self._settings = agreed(settings)
        self._metrics = metrics
        self._watched = watched
        self._rounds = 0
        self._written_at = float("-inf")
        self._others: dict[bytes, _Other] = {}
        self._log = RateLimitedLog(60.0)
        self.differing = 0
        """How many other gateways have other settings."""
        self.on_storage_lost: Callable[[], None] = lambda: None
        """Called when Redis has lost its data."""

    def look_now(self) -> None:
        """Do not wait for the next look."""
        self._rounds = 0

    def questions(self) -> Sequence[Question]:
        """What is due in this round."""
        self._rounds -= 1
        if self._rounds > 0:
            return []
        self._rounds = ROUNDS
        document = orjson.dumps({"at": time.time(), "settings": self._settings})
        gone = [name for name, other in self._others.items() if other.unchanged > _FORGET]
        return [
            Question(("HSET", KEY, self._name, document), self._written),
            Question(("PEXPIRE", KEY, _TTL_MS), lambda _: None),
            *[Question(("HDEL", KEY, name), lambda _: None) for name in gone],
            Question(("HGETALL", KEY), self._compare),
        ]

    def _written(self, answer: object) -> None:
        if isinstance(answer, Exception):
            # Health says what is wrong with Redis; without the right, `check` does.
            return
        now = time.monotonic()
        # Others delete what was not renewed for an hour.
        if answer == 1 and now - self._written_at < _FORGET:
            self._metrics.storage_losses += 1
            log.warning(
                "Redis has lost its data: it was restarted without its append-only file, or "
                "somebody sent FLUSHALL. %d executions are watched here: their histories and "
                "registrations are gone. Set appendonly yes.",
                self._watched(),
            )
            self.on_storage_lost()
        self._written_at = now

    def _compare(self, answer: object) -> None:
        if not isinstance(answer, dict):
            return
        answer.pop(self._name.encode(), None)
        for name, document in answer.items():
            other = self._others.setdefault(name, _Other(document))
            other.unchanged = 0 if document != other.document else other.unchanged + 1
            other.document = document
        self._others = {name: other for name, other in self._others.items() if name in answer}
        found = [
            different
            for other in self._others.values()
            if other.unchanged < _STOPPED
            and (different := differences(self._settings, read_document(other.document)[1]))
        ]
        self.differing = len(found)
        if found:
            self._log.warning(
                log,
                "%d other gateways on this Redis have other settings, which must agree: %s.",
                len(found),
                "; ".join(found[0]),
            )

    async def leave(self, redis: Redis) -> None:
        """This gateway stops; where Redis is away, what it wrote is out of date soon."""
        with suppress(*REDIS_ERRORS):
            async with asyncio.timeout(1.0):
                await redis.hdel(KEY, self._name)
