"""Each gateway writes to Redis the settings in which all gateways must agree.

This also shows that Redis has lost its data: then what this gateway has written is gone.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import orjson
from redis.asyncio import Redis

from gateway.bus.cluster import Cluster
from gateway.bus.errors import REDIS_ERRORS
from gateway.bus.node import Node
from gateway.bus.questions import Question
from gateway.log import RateLimitedLog
from gateway.metrics import Metrics
from gateway.settings import Settings, variable

log = logging.getLogger(__name__)

# `!` is in no execution id, so no key of an execution can be this.
KEY = "sse:{!gateways}:settings"

_NUMBERS = range(10_000)
"""Of keys until one is of a node's slots, which may be few."""

AGREED = (
    "channel_prefix", "record_bare_events", "ownership", "terminal_types", "restart_types",
    "event_max_bytes", "history_max_events", "history_max_bytes", "history_ttl_seconds",
    "open_ttl_seconds", "publish_to",
)  # fmt: skip
"""Settings in which gateways on one Redis must agree: else an event comes twice, or what one
records another one trims."""

FRESH_SECONDS = 60.0
"""How old, by the clock of this machine, what a gateway wrote may be while it runs."""

_STOPPED = 4
"""Looks without a change after which a gateway has stopped."""

_FORGET = 720
"""Looks after which what it wrote is deleted: an hour."""

_TTL_MS = 24 * 3600 * 1000


def agreed(settings: Settings) -> dict[str, Any]:
    """What must agree of *settings*, as JSON has it.

    A gateway that subscribes to single executions hears no bare message, so it need not agree in
    what becomes of them. But all that record must hand on to it what they have recorded; that is
    what `publish_to` stands for here. Where a gateway publishes what it is sent by HTTP is its own
    affair: it hears that itself.
    """
    found = settings.model_dump(mode="json", include=set(AGREED))
    records = found.pop("record_bare_events") != "off"
    del found["publish_to"]
    if not settings.watches:
        # As earlier releases write it.
        found["record_bare_events"] = records
    if settings.watches or records:
        found["publish_to"] = "execution" if settings.watches or settings.hands_on else "pattern"
    return found


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

    rounds: ClassVar = 5
    """The shared pipelines, one a second, from one look to the next."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        metrics: Metrics,
        watched: Callable[[], int],
        redis: Redis,
    ) -> None:
        """*watched*: how many executions are. A cluster *redis* may lose the data of one node."""
        self._cluster = redis if isinstance(redis, Cluster) else None
        self._marks: dict[Node, str] = {}
        """A key of each primary that has not the one of all."""
        self._name = name
        self._settings = agreed(settings)
        self._metrics = metrics
        self._watched = watched
        self._written_at: dict[str, float] = {}
        """When each key was last written."""
        self._others: dict[bytes, _Other] = {}
        self._log = RateLimitedLog(60.0)
        self.differing = 0
        """How many other gateways have other settings."""
        self.on_storage_lost: Callable[[], None] = lambda: None
        """Called when Redis has lost its data."""

    @property
    def running(self) -> Iterable[str]:
        """The names of the other gateways that run."""
        return [one.decode() for one, other in self._others.items() if other.unchanged < _STOPPED]

    def questions(self) -> Sequence[Question]:
        """One look, every `rounds`."""
        document = orjson.dumps({"at": time.time(), "settings": self._settings})
        gone = [name for name, other in self._others.items() if other.unchanged > _FORGET]
        return [
            *self._write(KEY, document),
            *[one for key in self._node_marks() for one in self._write(key, b"")],
            *[Question(("HDEL", KEY, name), lambda _: None) for name in gone],
            Question(("HGETALL", KEY), self._compare),
        ]

    def _write(self, key: str, document: bytes) -> Sequence[Question]:
        return [
            Question(("HSET", key, self._name, document), partial(self._written, key)),
            Question(("PEXPIRE", key, _TTL_MS), lambda _: None),
        ]

    def _node_marks(self) -> Sequence[str]:
        """A key of this gateway at each other primary, which keeps it while its slot does not
        move."""
        if self._cluster is None:
            return []
        others = [one for one in self._cluster.primaries() if one is not self._cluster.node_of(KEY)]
        for node in others:
            key = self._marks.get(node)
            if key is None or self._cluster.node_of(key) is not node:
                names = (f"sse:{{!gateways:{number}}}:{self._name}" for number in _NUMBERS)
                if (found := self._cluster.nodes.first_at(node, names)) is not None:
                    self._marks[node] = found
        self._marks = {node: key for node, key in self._marks.items() if node in others}
        return list(self._marks.values())

    def _written(self, key: str, answer: object) -> None:
        if isinstance(answer, Exception):
            # Health says what is wrong with Redis; without the right, `check` does.
            return
        now = time.monotonic()
        # Others delete what was not renewed for an hour.
        if answer == 1 and now - self._written_at.get(key, float("-inf")) < _FORGET:
            self._metrics.storage_losses += 1
            log.warning(
                "Redis has lost its data: it was restarted without its append-only file, or "
                "somebody sent FLUSHALL. %d executions are watched here: their histories and "
                "registrations are gone. Set appendonly yes.",
                self._watched(),
            )
            self.on_storage_lost()
        self._written_at[key] = now

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
                for key in self._marks.values():
                    await redis.hdel(key, self._name)
