"""The watch over readers that do not read.

A connection that has taken nothing for the write timeout is aborted, and nobody writes to it again.
It knows of those that are behind only, and does not know what they are sent.
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
        self._behind: dict[Writer, tuple[int, float]] = {}

    def __len__(self) -> int:
        """How many are behind."""
        return len(self._behind)

    def behind(self, writer: Writer) -> None:
        """*writer* has bytes that its reader has not taken yet."""
        if writer not in self._behind:
            self._behind[writer] = (writer.taken, asyncio.get_running_loop().time())

    def even(self, writer: Writer) -> None:
        """*writer* has nothing left to send, or is gone."""
        self._behind.pop(writer, None)

    def tick(self) -> None:
        """Check those that are behind."""
        now = asyncio.get_running_loop().time()
        for writer, (taken, since) in list(self._behind.items()):
            if writer.taken > taken:
                self._behind[writer] = (writer.taken, now)
            elif now - since >= self._timeout:
                self.even(writer)
                writer.stalled()
