"""The run documents of polls: folded once, shared, and remembered for a while.

Equal polls of one execution for one organization share a document. It is valid for as long as the
history has not changed, which is checked for each poll: no answer is older than its question.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from gateway.bus.history import PAGE_BYTES, History
from gateway.errors import RunNotFound, RunTooLarge, Unavailable
from gateway.events.envelope import STANDARD_RULES, EventRules
from gateway.http.poll_budget import Budget, Charge, Payer
from gateway.http.run_document import (
    EVENT_OVERHEAD,
    LEAST_BYTES,
    PAGE_OF_EVENTS_BYTES,
    Document,
    DocumentBuilder,
    HistoryRange,
    Query,
)
from gateway.metrics import Metrics

UNPAUSED_BYTES = 128 * 1024
"""Bytes of history that are folded without a pause; one event may be larger."""


class Turns:
    """Pauses for what folds documents, so that the event loop gets on with everything else."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def paced(self, parts: Iterator[bytes]) -> AsyncIterator[bytes]:
        """*parts* one by one, with a pause before each `UNPAUSED_BYTES`. Of all documents one goes
        on at a time: an event waits for a part of one document, not of each."""
        while True:
            async with self._lock:
                await asyncio.sleep(0)
            size = 0
            while size < UNPAUSED_BYTES:
                if (part := next(parts, None)) is None:
                    return
                size += len(part)
                yield part


class Key(NamedTuple):
    """Which document; never another organization's, even if both may see the execution."""

    organization_id: str
    execution_id: str
    query: Query


@dataclass(slots=True, eq=False)
class _Shared:
    """One document, or the folding of it, and how many polls use it."""

    started_at: float
    charge: Charge
    task: asyncio.Task[Document]
    polls: int = 0


@dataclass(slots=True, eq=False)
class Documents:
    """The documents that polls use, and those that are remembered."""

    history: History
    budget: Budget
    metrics: Metrics
    seconds: float
    """How long a history may take to be read."""
    most_bytes: int
    """What a history holds, about, unless producers set other bounds; what exceeds it is counted
    while it is read."""
    most_events: int
    """The same in events."""
    rules: EventRules = STANDARD_RULES
    _shared: dict[Key, _Shared] = field(default_factory=dict)
    # Those of them that nobody reads; the one that was read last comes last.
    _remembered: dict[Key, _Shared] = field(default_factory=dict)
    _turns: Turns = field(default_factory=Turns)

    def __post_init__(self) -> None:
        self.budget.evict = self._evict

    @asynccontextmanager
    async def read(self, key: Key) -> AsyncIterator[Document]:
        """The document as history is now; its memory is kept until the end of the context.

        Raises:
            RedisUnavailable: Redis could not be asked.
            LimitReached, Unavailable: there was no memory for it in time.
            RunTooLarge: there never will be.
        """
        asked_at = asyncio.get_running_loop().time()
        while True:
            shared = self._shared.get(key) or self._start(key)
            self._remembered.pop(key, None)
            shared.polls += 1
            try:
                # Shielded: the poll that asked first may leave before the others.
                document = await asyncio.shield(shared.task)
                # A fold that started before the question may lack what the client saw meanwhile.
                if shared.started_at >= asked_at or await self.is_current(
                    key.execution_id, document.range, key.query.run
                ):
                    yield document
                    return
                self._forget(key, shared)
            finally:
                shared.polls -= 1
                self._left(key, shared)
                # It has the task, whose error has a traceback with this frame: a reference cycle.
                del shared

    async def run_of(self, execution_id: str, epoch: int) -> str:
        """The name of the run that *epoch* is of, as `Query.run` has it.

        Raises:
            RunNotFound: it is not known, or no longer kept.
            RedisUnavailable: Redis could not be asked.
        """
        name = (await self.history.meta(execution_id)).run_of(epoch)
        # Of a former run the entries expire before their name is forgotten.
        if name is None or (
            name and not (await self.history.page(execution_id, None, run=name)).last
        ):
            raise RunNotFound
        return name

    async def is_current(self, execution_id: str, known: HistoryRange, run: str) -> bool:
        """Whether a document of this range, of the former *run* if it is named, would be the same
        now.

        Raises:
            RedisUnavailable: Redis could not be asked.
        """
        extent = await self.history.extent(execution_id)
        if not run and known.last is not None and extent.last not in (None, known.last):
            # Without reading what has come since: that may be a page for each poll.
            return False
        page = await self.history.page(execution_id, known.last, run=run)
        # Where nothing is kept, the end is all that is still known.
        last = known.last if page.cursor_status == "valid" else page.terminal
        return not page.entries and HistoryRange(page.first, last) == known

    def drop(self, execution_id: str) -> None:
        """Keep no document of this execution in memory: it was forgotten."""
        for key, shared in list(self._shared.items()):
            if key.execution_id == execution_id:
                self._forget(key, shared)

    def _start(self, key: Key) -> _Shared:
        charge = Charge(Payer(key.organization_id, is_reader=False))
        task = asyncio.create_task(self._fold(key, charge))
        started_at = asyncio.get_running_loop().time()
        self._shared[key] = shared = _Shared(started_at, charge, task)
        return shared

    def _left(self, key: Key, shared: _Shared) -> None:
        """Remember a document that nobody reads any more, if it can be used again."""
        if shared.polls:
            return
        task, most = shared.task, self.budget.most_remembered
        is_folded = task.done() and not task.cancelled() and task.exception() is None
        if not is_folded or self._shared.get(key) is not shared or shared.charge.bytes > most:
            self._forget(key, shared)
            return
        self._remembered[key] = shared
        while sum(one.charge.bytes for one in self._remembered.values()) > most:
            self._evict()
        self.budget.serve()

    def _evict(self, organization_id: str | None = None) -> bool:
        """Forget what nobody has read for longest, of this organization or of any."""
        for key, shared in self._remembered.items():
            if organization_id in (None, key.organization_id):
                self._forget(key, shared)
                return True
        return False

    def _forget(self, key: Key, shared: _Shared) -> None:
        """No other poll joins; its memory is given back once the last one has left."""
        if self._shared.get(key) is shared:
            del self._shared[key]
            self._remembered.pop(key, None)
        if not shared.polls:
            self.budget.release(shared.charge)
            shared.task.cancel()

    async def _fold(self, key: Key, charge: Charge) -> Document:
        await self.budget.take(charge, await self._estimate(key))
        # Of a former run only its events are known.
        meta = None if key.query.run else await self.history.meta(key.execution_id)
        builder = DocumentBuilder(key.execution_id, key.query, self.metrics, self.rules, meta)
        try:
            async with asyncio.timeout(self.seconds):
                while not builder.is_complete:
                    page = await self.history.page(
                        key.execution_id, builder.cursor, run=key.query.run
                    )
                    async for _ in self._turns.paced(builder.add(page)):
                        if builder.size > self.budget.largest:
                            raise RunTooLarge
                        if builder.size > charge.bytes:
                            self.budget.resize(charge, builder.size)
        except TimeoutError:
            raise Unavailable(
                "The run could not be read in time: try again in a few seconds."
            ) from None
        async for _ in self._turns.paced(builder.encode_logs()):
            pass
        document = builder.document()
        self.budget.resize(charge, document.size)
        return document

    async def _estimate(self, key: Key) -> int:
        """The bytes that folding takes at most: every event may also be the output of a step."""
        extent = await self.history.extent(key.execution_id)
        size = 2 * min(extent.bytes, self.most_bytes)
        size += EVENT_OVERHEAD * min(extent.events, self.most_events)
        if not key.query.with_logs:
            size = min(size, PAGE_BYTES)
        elif key.query.limit is not None:
            size = min(size, 3 * PAGE_OF_EVENTS_BYTES)
        return min(LEAST_BYTES + size + min(extent.bytes, PAGE_BYTES), self.budget.largest)
