"""Which node of a cluster a command belongs to. Nothing here talks to Redis."""

import asyncio
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import AskError

log = logging.getLogger(__name__)

_SAID_AFTER, _SAID_EVERY = 1.0, 10.0
"""Seconds until a line of the log says what has moved, and between two such lines."""

Address = tuple[str, int]
Command = Sequence[Any]

_KEYLESS = frozenset([
    "ACL", "CLIENT", "CLUSTER", "CONFIG", "DBSIZE", "ECHO", "FLUSHALL", "INFO", "LATENCY", "PING",
    "PUBLISH", "SCAN", "SCRIPT", "TIME", "WAIT",
])  # fmt: skip
"""Commands that have no key: those that the project sends, and that its tests send."""


def slot_of(command: Command) -> int | None:
    """The slot of the first key of *command*; all its keys are in one. None where it has none."""
    name = str(command[0]).partition(" ")[0]
    if name in _KEYLESS:
        return None
    if name in ("EVAL", "EVALSHA"):
        if not int(command[2]):
            return None
        key = command[3]
    else:
        key = command[1]
    return int(key_slot(key if isinstance(key, bytes) else str(key).encode()))


def slot_of_key(key: str) -> int:
    """The slot of *key*."""
    return int(key_slot(key.encode()))


def new_keys(command: Command) -> Command | None:
    """*command* as it is sent again after TRYAGAIN: of a script of ours, its second key alone is
    declared, since keys that do not exist yet are refused while their slot moves; see
    `own_keys.lua`. None for any other command."""
    if command[0] not in ("EVAL", "EVALSHA") or int(command[2]) < 2:
        return None
    name, script, count, *rest = command
    return (name, script, 1, rest[1], *rest[int(count) :])


class Primary(NamedTuple):
    """A node that serves slots."""

    id: str
    """By which CLUSTER NODES names it."""
    address: Address


@dataclass(frozen=True, slots=True)
class Slots:
    """Who serves which slot, as one node said."""

    primaries: Mapping[Address, Primary]
    owners: list[Primary | None]
    """By slot; None where nobody serves it."""

    def moved_from(self, before: "Slots") -> frozenset[int]:
        """The slots that another node served *before*."""
        pairs = enumerate(zip(self.owners, before.owners, strict=True))
        return frozenset(
            slot
            for slot, (now, then) in pairs
            if now is not then and (now and now.address) != (then and then.address)
        )


NO_SLOTS = Slots({}, [None] * REDIS_CLUSTER_HASH_SLOTS)


def read_slots(answer: Any, asked: Address) -> Slots:
    """What CLUSTER SLOTS says, of the node at the address *asked*."""
    primaries: dict[Address, Primary] = {}
    owners: list[Primary | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
    for first, last, (host, port, node_id, *_), *_replicas in answer:
        address = _known(host, asked), int(port)
        primary = primaries.setdefault(address, Primary(_text(node_id), address))
        owners[int(first) : int(last) + 1] = [primary] * (int(last) + 1 - int(first))
    return Slots(primaries, owners)


def target_of(redirection: AskError, asked: Address) -> Address:
    """Where the node at the address *asked* sends a command: by MOVED or ASK."""
    return _known(redirection.host, asked), int(redirection.port)


class MovedLog:
    """Says how many slots have moved, not each time: in a failover each node sends commands
    elsewhere at another moment."""

    def __init__(self) -> None:
        self._unsaid: set[int] = set()
        self._saying: asyncio.TimerHandle | None = None
        self._said_at = -math.inf

    def add(self, slots: frozenset[int]) -> None:
        """These are at another node now; the event loop says so soon."""
        self._unsaid |= slots
        if self._saying is None:
            loop = asyncio.get_running_loop()
            at = max(loop.time() + _SAID_AFTER, self._said_at + _SAID_EVERY)
            self._saying = loop.call_at(at, self.say)

    def say(self) -> None:
        """Say at once what is not said."""
        if self._saying is not None:
            self._saying.cancel()
            self._saying, self._said_at = None, asyncio.get_running_loop().time()
            log.warning("%d slots of the cluster are at another node now.", len(self._unsaid))
            self._unsaid.clear()


def _known(host: Any, asked: Address) -> str:
    """A node that does not know its own name gives none, or a question mark: it is where it was
    asked."""
    name = _text(host or "")
    return asked[0] if name in ("", "?") else name


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
