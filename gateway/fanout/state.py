"""The states of a stream, why it ends, and what is shown of it."""

import asyncio
import random
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from gateway.events.ids import EventId

COMPLETED = "completed"
"""The end of a stream whose execution has ended."""
GONE = "gone"
"""The end of a stream whose reader has left; every other end is a CloseReason."""

_PAUSE = (0.1, 0.5)
"""Seconds between two tries to read history while Redis is away."""


async def pause() -> None:
    """Between two tries to read history."""
    await asyncio.sleep(random.uniform(*_PAUSE))  # noqa: S311 - spreads load


class State(Enum):
    """Where a stream is between its admission and its end."""

    OPENING = "opening"
    CATCHING_UP = "catching_up"
    LIVE = "live"
    CLOSING = "closing"
    CLOSED = "closed"


class Permit(Protocol):
    """What a stream is counted as, until it is given back."""

    def leave(self) -> None:
        """Give it back; calling it again changes nothing."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One stream as it is at this moment; times in seconds, sizes in bytes."""

    state: State
    reason: str | None
    """Why it is closing."""
    position: EventId | None
    events: int
    bytes: int
    queue_events: int
    queue_bytes: int
    blocked: float
    """For how long its reader has not taken all that was written; 0 for one that has."""
    silent: float
