"""Messages that were read from all links and are not delivered yet.

The inbox is bounded: when the feed is far behind, reading stops."""

import asyncio
from collections import deque
from typing import NamedTuple

from gateway.bus.since import Since

INBOX_BYTES = 64 * 1024 * 1024
"""Bytes that may wait to be delivered; a feed that is further behind stops reading."""


class Message(NamedTuple):
    """One published message, as Redis gave it."""

    channel: bytes
    payload: bytes


class SubscriptionSession(NamedTuple):
    """One confirmed connection: recording counts what each one has heard (DELIVERY.md, rule 7)."""

    name: str
    since: Since


class MessageBatch(NamedTuple):
    """Messages that arrived in one session, in order."""

    session: SubscriptionSession
    messages: list[Message]


class Inbox:
    """Any number of links put in; one feed takes out."""

    def __init__(self) -> None:
        self._batches: deque[MessageBatch] = deque()
        self._waiting: dict[int, int] = {}
        """The bytes of each, by its identity."""
        self._arrived = asyncio.Event()
        self.room = asyncio.Event()
        """Set while there is some."""
        self.room.set()
        self.bytes = 0
        """Of messages that were read and that nobody has taken yet."""

    async def batch(self) -> MessageBatch:
        """All messages of one session that have arrived since the last call; waits for one.

        The reader runs on while data is there, so under load a batch is what one read of the
        socket brought, and a single message does not wait.
        """
        while not self._batches:
            self._arrived.clear()
            await self._arrived.wait()
        batch = self._batches.popleft()
        self.bytes -= self._waiting.pop(id(batch))
        if self.bytes <= INBOX_BYTES:
            self.room.set()
        return batch

    def put(self, batch: MessageBatch, message: Message) -> MessageBatch:
        """Put *message* in, into *batch* if nobody has taken it; returns the batch that has it."""
        # Several links take turns, and each has one batch that waits.
        if id(batch) not in self._waiting:
            batch = MessageBatch(batch.session, [])
            self._batches.append(batch)
            self._waiting[id(batch)] = 0
            self._arrived.set()
        batch.messages.append(message)
        size = len(message.payload)
        self._waiting[id(batch)] += size
        self.bytes += size
        if self.bytes > INBOX_BYTES:
            self.room.clear()
        return batch
