"""The documents that polls are answered with: folded once, shared, and remembered for a while.

A document is held once for all who ask the same of the same execution for one organization, and is
good for as long as its history has not moved, which is asked each time: nobody gets an answer that
is older than the question. Its bytes are its organization's (`gateway.http.poll_budget`).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from gateway.bus.history import PAGE_BYTES, History
from gateway.errors import RunTooLarge, Unavailable
from gateway.http.poll_budget import Budget, Charge, Holder
from gateway.http.run_reading import (
    EVENT_OVERHEAD,
    LEAST_BYTES,
    PAGE_OF_EVENTS_BYTES,
    Asked,
    Document,
    Reading,
    State,
    stretches,
)
from gateway.metrics import Metrics


class Key(NamedTuple):
    """Which document; never another organization's, whoever else may see the execution."""

    organization_id: str
    execution_id: str
    asked: Asked


class Folded:
    """One document, or the folding of it, and those who read it."""

    def __init__(self, begun_at: float) -> None:
        self.begun_at = begun_at
        self.readers: set[Reader] = set()
        self.task: asyncio.Task[Document] | None = None
        self.charge: Charge | None = None
        self.is_remembered = True
        """Others may join, also once it is folded."""
        self._given_back = 0

    @property
    def document(self) -> Document | None:
        """The document, once it is there."""
        task = self.task
        if task is None or not task.done() or task.cancelled() or task.exception() is not None:
            return None
        return task.result()

    def give_back(self) -> None:
        """Let go of the pieces that all readers have passed, where nobody can join any more."""
        document = self.document
        if self.is_remembered or document is None or self.charge is None:
            return
        passed = min((reader.passed for reader in self.readers), default=0)
        freed = 0
        for index in range(self._given_back, passed):
            freed += len(document.pieces[index])
            document.pieces[index] = b""
        self._given_back = max(passed, self._given_back)
        if freed:
            self.charge.resize(max(0, self.charge.bytes - freed))


class Reader:
    """One poll that is answered with a document."""

    def __init__(self, folded: Folded) -> None:
        self._folded = folded
        self.passed = 0
        """How many pieces it needs no more."""

    @property
    def document(self) -> Document:
        """What it is answered with."""
        document = self._folded.document
        assert document is not None  # noqa: S101 - for the type checker: it waited for it
        return document

    def advance(self, pieces: int) -> None:
        """The first *pieces* are written."""
        self.passed = pieces
        self._folded.give_back()


class Documents:
    """The documents under way and those that are remembered."""

    def __init__(
        self,
        history: History,
        budget: Budget,
        metrics: Metrics,
        *,
        seconds: float,
        most_bytes: int,
        most_events: int,
    ) -> None:
        """*seconds*: how long a history may take to be read.
        *most_bytes*, *most_events*: what a history holds, about, where nobody set other bounds;
        what exceeds them is counted while it is read."""
        self._history = history
        self._budget = budget
        self._metrics = metrics
        self._seconds = seconds
        self._most_bytes = most_bytes
        self._most_events = most_events
        self._folded: dict[Key, Folded] = {}
        # One stretch at a time, whoever folds: events wait for one, not for one of each poll.
        self._turn = asyncio.Lock()

    def __len__(self) -> int:
        """How many there are."""
        return len(self._folded)

    @asynccontextmanager
    async def read(self, key: Key) -> AsyncIterator[Reader]:
        """The document as history is now, held until the end of the context.

        Raises:
            RedisUnavailable: Redis could not be asked.
            LimitReached, Unavailable: there was no room for it.
            RunTooLarge: there never will be.
        """
        asked_at = asyncio.get_running_loop().time()
        while True:
            folded = self._folded.get(key) or self._begin(key)
            reader = self._join(folded)
            try:
                assert folded.task is not None  # noqa: S101 - for the type checker
                # Shielded: the one that asked first may leave before the others.
                document = await asyncio.shield(folded.task)
                # What was begun earlier may lack what the reader has seen already.
                is_good = folded.begun_at >= asked_at or await self.is_current(
                    key.execution_id, document.state
                )
                if is_good:
                    yield reader
                    return
                self._forget(key, folded)
            finally:
                self._leave(key, folded, reader)

    async def is_current(self, execution_id: str, known: State) -> bool:
        """Whether a document of this state would be the same now.

        Raises:
            RedisUnavailable: Redis could not be asked.
        """
        extent = await self._history.extent(execution_id)
        if known.last is not None and extent.last not in (None, known.last):
            # Without reading what has come since: it may be a page for each poll.
            return False
        page = await self._history.page(execution_id, known.last)
        # Where nothing is kept, the end is all that is still known.
        last = known.last if page.cursor_status == "valid" else page.terminal
        return not page.entries and State(page.first, last) == known

    def _begin(self, key: Key) -> Folded:
        folded = self._folded[key] = Folded(asyncio.get_running_loop().time())
        folded.task = asyncio.create_task(self._fold(key, folded))
        # When all who asked have left, nobody else looks at its error.
        folded.task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return folded

    def _join(self, folded: Folded) -> Reader:
        reader = Reader(folded)
        folded.readers.add(reader)
        if folded.charge is not None:
            folded.charge.wake()
        return reader

    def _leave(self, key: Key, folded: Folded, reader: Reader) -> None:
        folded.readers.discard(reader)
        if folded.readers:
            folded.give_back()
        elif folded.is_remembered and folded.document is not None and folded.charge is not None:
            folded.charge.rest(lambda: self._forget(key, folded))
        else:
            self._forget(key, folded)

    def _forget(self, key: Key, folded: Folded) -> None:
        """Nobody else may join; all is given back when the last reader has left."""
        folded.is_remembered = False
        if self._folded.get(key) is folded:
            del self._folded[key]
        if folded.readers:
            return
        if folded.charge is not None:
            folded.charge.release()
        if folded.task is not None and not folded.task.done():
            folded.task.cancel()
        # Its error, if it has one, knows the frames that know this object.
        folded.task = None

    async def _fold(self, key: Key, folded: Folded) -> Document:
        try:
            need = await self._need(key)
            folded.charge = await self._budget.take(Holder(key.organization_id, False), need)
            async with asyncio.timeout(self._seconds):
                reading = await self._read(key, folded.charge)
            document = await self._in_pieces(key, reading)
            folded.charge.resize(document.size)
        except BaseException as error:
            self._close(key, folded)
            if folded.charge is not None:
                folded.charge.release()
            if isinstance(error, TimeoutError):
                raise Unavailable(
                    "The run could not be read in time: try again in a few seconds."
                ) from None
            raise
        if document.size > self._budget.most_remembered:
            self._close(key, folded)
        return document

    def _close(self, key: Key, folded: Folded) -> None:
        folded.is_remembered = False
        if self._folded.get(key) is folded:
            del self._folded[key]

    async def _need(self, key: Key) -> int:
        """The bytes that folding takes: every event may also be the output of a step."""
        extent = await self._history.extent(key.execution_id)
        size = 2 * min(extent.bytes, self._most_bytes)
        size += EVENT_OVERHEAD * min(extent.events, self._most_events)
        if not key.asked.with_logs:
            size = min(size, PAGE_BYTES)
        elif key.asked.limit is not None:
            size = min(size, 3 * PAGE_OF_EVENTS_BYTES)
        return min(LEAST_BYTES + size + min(extent.bytes, PAGE_BYTES), self._budget.largest)

    async def _read(self, key: Key, charge: Charge) -> Reading:
        reading = Reading(key.execution_id, key.asked, self._metrics)
        follows = True
        while follows:
            page = await self._history.page(key.execution_id, reading.cursor)
            for stretch in stretches(page):
                async with self._turn:
                    follows = reading.add(stretch)
                    await asyncio.sleep(0)
                self._hold(charge, reading.size)
        return reading

    def _hold(self, charge: Charge, size: int) -> None:
        if size > self._budget.largest:
            raise RunTooLarge
        if size > charge.bytes:
            charge.resize(size)

    async def _in_pieces(self, key: Key, reading: Reading) -> Document:
        run = reading.document("")
        if not key.asked.with_logs:
            return Document(reading.state, run, [])
        pieces: list[bytes] = []
        size = 0
        for piece in reading.pieces(run):
            pieces.append(piece)
            size += len(piece)
            if size > PAGE_BYTES:
                size = 0
                async with self._turn:
                    await asyncio.sleep(0)
        return Document(reading.state, run, pieces)
