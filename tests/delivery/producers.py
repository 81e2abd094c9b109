"""Workers that announce events, in both ways that there are, and remember what they were promised.

A `Publisher`'s call that returned an id is a promise. A bare PUBLISH is one as long as at least one
gateway was subscribed: Redis tells its sender how many it went to.
"""

import asyncio
import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import orjson
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.events.ids import parse_id
from gateway.publisher import PublishFailed
from tests.delivery.journal import TERMINAL_TYPES, Entry, Names, on_one_line

MOST_EVENTS = 200
"""A producer that has said so much only waits: histories are to be kept whole here."""

_TYPES = ("step:started", "step:completed", "step:failed", "execution:paused", "unheard:of")
_STAMP = "2026-01-31T12:00:00.000Z"


class Producer(ABC):
    """Announces numbered events of one execution, in bursts whose times are drawn from *chance*."""

    largest = 2_000
    """Bytes of the longest text in an event."""

    def __init__(self, execution_id: str, name: str, chance: random.Random) -> None:
        self.name = name
        self.promised: list[bytes] = []
        """The events, on one line and in order, that every reader must see."""
        self.doubtful: list[bytes] = []
        """Those that were accepted while Redis itself could lose them."""
        self.survives = False
        """Redis cannot lose what this one is promised: its replicas have it too."""
        self.possible: Counter[bytes] = Counter()
        """All that was announced, also where nobody knows whether it got through."""
        self.unsure: Counter[bytes] = Counter()
        """Those of `possible` that were announced while Redis itself could lose them."""
        self.is_uncertain = False
        self.execution_id = execution_id
        self.chance = chance
        self._number = 0
        self._doubts = 0
        # A scenario lets it say more than it would, and only one after the other has an order.
        self._turn = asyncio.Lock()

    async def run(self, stop: asyncio.Event) -> None:
        """Announce events until *stop* is set. Some readers come before the first."""
        await asyncio.sleep(self.chance.uniform(0, 0.3))
        while not stop.is_set():
            if self._number < MOST_EVENTS:
                for _ in range(self.chance.choice((1, 1, 2, 5, 20))):
                    await self.announce()
            await asyncio.sleep(self.chance.uniform(0, 0.1))

    @contextmanager
    def uncertain(self) -> Iterator[None]:
        """Nothing that is announced in this block is promised: Redis itself may lose it."""
        self.is_uncertain = True
        self._doubts += 1
        try:
            yield
        finally:
            self.is_uncertain = False
            self._doubts += 1

    async def announce(self, event_type: str | None = None) -> bytes:
        """Announce one event, by default one of a step, however often it has to be tried; the
        event, as readers will see it."""
        async with self._turn:
            self._number += 1
            doubts, was_uncertain = self._doubts, self.is_uncertain
            payload, is_taken = await self._send(event_type or self.chance.choice(_TYPES))
            event = on_one_line(payload)
            self.possible[event] += 1
            is_certain = not was_uncertain and doubts == self._doubts
            self.unsure[event] += not is_certain
            if is_taken:
                (self.promised if is_certain or self.survives else self.doubtful).append(event)
            return event

    @abstractmethod
    async def _send(self, event_type: str) -> tuple[bytes, bool]:
        """Send an event; its JSON, and whether Redis has promised to deliver it."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of Redis."""

    def _text(self) -> str:
        """Most events are short, and not all text is ASCII."""
        longest = self.largest if self.chance.random() < 0.1 else 200
        return "olá ☃ " + "x" * self.chance.randrange(longest)


class Publishes(Protocol):
    """A `Publisher`, of whichever release."""

    async def publish(
        self,
        execution_id: str,
        event_type: str,
        data: dict[str, Any],
        /,
        *,
        timestamp: str,
        idempotency_key: str | None,
    ) -> str: ...

    async def close(self) -> None: ...


class PublisherProducer(Producer):
    """A worker that uses `gateway.publisher`."""

    def __init__(
        self,
        publisher: Publishes,
        execution_id: str,
        name: str,
        chance: random.Random,
        names: Names,
    ) -> None:
        """*publisher* is closed with this worker."""
        super().__init__(execution_id, name, chance)
        self._publisher = publisher
        self._names = names

    async def _send(self, event_type: str) -> tuple[bytes, bool]:
        data = {"number": self._number, "producer": self.name, "text": self._text()}
        payload = orjson.dumps({"type": event_type, "data": data, "timestamp": _STAMP})
        key = None
        while True:
            try:
                given = await self._publisher.publish(
                    self.execution_id, event_type, data, timestamp=_STAMP, idempotency_key=key
                )
            except PublishFailed as failure:
                key = failure.idempotency_key
            else:
                break
        event_id = parse_id(given)
        assert event_id is not None, given
        self._names.note(self.execution_id, Entry(event_id, payload))
        return payload, True

    async def close(self) -> None:
        await self._publisher.close()


class BareProducer(Producer):
    """A worker of today: a PUBLISH and nothing else. A share of its events is equal to others."""

    equal_share = 0.0

    def __init__(self, client: Redis, execution_id: str, name: str, chance: random.Random) -> None:
        """*client* must not repeat a command by itself."""
        super().__init__(execution_id, name, chance)
        self._redis = client
        self._recent: list[bytes] = []
        self._trusted = 0
        """The doubts that its connection has outlived."""

    async def _send(self, event_type: str) -> tuple[bytes, bool]:
        payload = self._payload(event_type)
        if self._trusted != self._doubts:
            # It may lead to a dead master, or to a former one, which takes a PUBLISH too.
            self._trusted = self._doubts
            await self._redis.connection_pool.disconnect()
        doubts, was_uncertain = self._doubts, self.is_uncertain
        try:
            receivers = await self._redis.publish(f"execution:{self.execution_id}", payload)
        except (RedisError, OSError):
            # The block in which it may fail can be over before the failure is seen here.
            is_excused = was_uncertain or self.is_uncertain or doubts != self._doubts
            assert is_excused, "Redis refuses a PUBLISH where it should not"
            await asyncio.sleep(0.02)
            receivers = 0
        return payload, receivers > 0

    def _payload(self, event_type: str) -> bytes:
        if event_type in TERMINAL_TYPES:
            return self._new(event_type)
        if self._recent and self.chance.random() < self.equal_share:
            return self.chance.choice(self._recent)
        payload = self._new(event_type)
        self._recent = [*self._recent[-9:], payload]
        return payload

    def _new(self, event_type: str) -> bytes:
        """As `json.dumps` writes it, and with what a second encoder would change."""
        line_end = self.chance.choice(["", "", "\n", "\r\n "])
        return (
            f'{{{line_end}"type": "{event_type}", "data": {{"number": {self._number}, '
            f'"producer": "{self.name}", "cost": 1.10, "large": 123456789012345678901234567890, '
            f'"text": "{self._text()}"}}, "timestamp": "{_STAMP[:-1]}"}}{line_end}'
        ).encode()

    async def close(self) -> None:
        await self._redis.aclose()
