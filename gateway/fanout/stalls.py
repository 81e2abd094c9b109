"""The watch over readers that do not read.

A connection that has taken no data for the write timeout is aborted. The watch knows only blocked
connections, and not what is written to them.
"""

import asyncio
from typing import Protocol

_CHECKS = 10
"""Checks per write timeout: a stalled reader is closed at most a tenth of it late."""


class Writer(Protocol):
    """A connection as the stall watch sees it."""

    @property
    def taken(self) -> int:
        """Bytes that the kernel has taken, of all that were written."""

    def stalled(self) -> None:
        """It has taken nothing for the write timeout: end it."""


class StallWatch:
    """Ends streams whose reader takes nothing for *timeout* seconds; `tick` is to be called every
    `tick_seconds`."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self.tick_seconds = timeout / _CHECKS
        self._blocked: dict[Writer, tuple[int, float]] = {}

    def __len__(self) -> int:
        """How many are blocked."""
        return len(self._blocked)

    def blocked(self, writer: Writer) -> None:
        """*writer* has bytes that its reader has not taken yet."""
        if writer not in self._blocked:
            self._blocked[writer] = (writer.taken, asyncio.get_running_loop().time())

    def unblocked(self, writer: Writer) -> None:
        """*writer* has nothing left to send, or is gone."""
        self._blocked.pop(writer, None)

    def tick(self) -> None:
        """Check those that are blocked."""
        now = asyncio.get_running_loop().time()
        for writer, (taken, since) in list(self._blocked.items()):
            if writer.taken > taken:
                self._blocked[writer] = (writer.taken, now)
            elif now - since >= self._timeout:
                self.unblocked(writer)
                writer.stalled()
