"""Keeps the index of organizations' executions in Redis, from what the feed brings.

The index is best effort: it says which executions a list has to look at; what is true is in their
histories. Each gateway notes what it receives, at most once a second for an execution, and at once
when it begins or ends. What several gateways note of one event counts once.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from redis.asyncio import Redis

from gateway.bus import scripts
from gateway.bus.activity import Activity
from gateway.bus.answers import ask_metas
from gateway.bus.errors import REDIS_ERRORS, describe_redis_error, is_loss, redis_errors
from gateway.bus.recording import Given
from gateway.contract.index import (
    AT_ONCE,
    Entry,
    IndexPage,
    Note,
    index_call,
    read_call,
    read_entry,
    read_page,
)
from gateway.contract.registration import Registration
from gateway.contract.scripts import HistoryLimits
from gateway.dataloader import PAUSE
from gateway.errors import RedisUnavailable
from gateway.events.ending import TerminalTypes
from gateway.events.envelope import Envelope
from gateway.log import RateLimitedLog
from gateway.metrics import Metrics
from gateway.ticker import PERIOD, Ticker

log = logging.getLogger(__name__)

NAME = "list index"

_ASK_AT_ONCE = 500
_MOST_REGISTERED = 2000
"""Registrations of one organization that wait while Redis is away."""

PAGE = 1000
"""Executions that one read gives at most."""


class Index:
    """The index as one gateway keeps and reads it."""

    def __init__(
        self,
        redis: Redis,
        ticker: Ticker,
        metrics: Metrics,
        terminal_types: TerminalTypes,
        *,
        limits: HistoryLimits,
        channel_prefix: str,
        most: int,
    ) -> None:
        """*most*: executions of one organization that are listed."""
        self._redis = redis
        self._ticker = ticker
        self._metrics = metrics
        self._activity = Activity(terminal_types)
        self._limits = limits
        self._prefix = channel_prefix
        self._most = most
        self._registered: dict[str, list[Note]] = {}
        self._under_way: set[str] = set()
        """Executions of which an event is being noted."""
        self.heard_since_ms = 0
        """Since when all events were heard, by the clock of Redis; 0 before the first one."""
        self._log = RateLimitedLog(60.0)
        self.on_noted: Callable[[str, str, Entry], None] = lambda *_: None
        """Called with an organization, an execution of it, and how that is listed now."""
        ticker.every(PERIOD, NAME, self.tick)

    # What comes.

    def note_events(
        self, execution_id: str, envelopes: Sequence[Envelope], ids: Sequence[Given | None] | None
    ) -> None:
        """These have arrived for an execution; *ids* are those of the bare ones. Costs no I/O."""
        if self._activity.note(execution_id, envelopes, ids, asyncio.get_running_loop().time()):
            self._ticker.start(NAME, self._flush)

    def published(self, execution_id: str, envelopes: Sequence[Envelope]) -> None:
        """These were published here, with their ids; costs no I/O."""
        self.note_events(execution_id, envelopes, None)

    def registered(self, registration: Registration) -> None:
        """It was accepted here; costs no I/O."""
        note = Note(
            "registered", registration.execution_id, workflow_id=registration.workflow_id or ""
        )
        self._registered.setdefault(registration.organization_id, []).append(note)
        self._ticker.start(NAME, self._flush)

    # What lists find out.

    async def write(self, notes: Mapping[str, Sequence[Note]]) -> None:
        """Note, by organization, what histories say: corrections and removals. Best effort.

        Nothing is corrected whose event is still to be noted: that would not move it any more.
        """
        for organization_id, some in notes.items():
            some = [one for one in some if one.kind != "is" or not self._is_due(one.execution_id)]
            for begin in range(0, len(some), AT_ONCE):
                await self._write([(organization_id, some[begin : begin + AT_ONCE])])

    async def read(self, organization_id: str, since_ms: int = 0, offset: int = 0) -> IndexPage:
        """A page of the executions that were active since then, after the first *offset*.

        Raises:
            RedisUnavailable: Redis could not be asked, or the index is a foreign value.
        """
        with redis_errors():
            heard_since = 0 if offset else self.heard_since_ms
            call = read_call(organization_id, since_ms, offset, PAGE, heard_since)
            answer = await scripts.run(self._redis, call)
        return read_page(answer)

    # Regularly.

    def tick(self) -> Coroutine[Any, Any, None] | None:
        """Note what is due."""
        return self._flush() if self._activity or self._registered else None

    async def _flush(self) -> None:
        while True:
            now = asyncio.get_running_loop().time()
            if not await self._learn(now):
                return
            registered = [(one, notes[:AT_ONCE]) for one, notes in self._registered.items()]
            rest = {one: notes[AT_ONCE:] for one, notes in self._registered.items()}
            self._registered = {one: notes for one, notes in rest.items() if notes}
            due, is_more = self._activity.collect(now)
            self._under_way = {note.execution_id for notes in due.values() for note in notes}
            try:
                if not await self._write([*registered, *due.items()]):
                    return
            finally:
                self._under_way = set()
            if not (is_more or self._activity.is_urgent or self._registered):
                return
            await asyncio.sleep(PAUSE)

    def _is_due(self, execution_id: str) -> bool:
        """Whether an event of it is still to be noted, or was not noted for certain."""
        return execution_id in self._activity or execution_id in self._under_way

    async def _learn(self, now: float) -> bool:
        """Ask whose executions are, of which that is not known, or not for certain any more. False
        if Redis is away."""
        asked = self._activity.unknown(now, _ASK_AT_ONCE)
        if not asked:
            return True
        try:
            answers = await ask_metas(self._redis, asked, "organization_id", "workflow_id")
        except RedisUnavailable:
            # Health reports it; what is due waits.
            return False
        for execution_id, answer in zip(asked, answers, strict=True):
            owner, workflow = (None, None) if isinstance(answer, Exception) else answer
            # An owner that is no text can list nothing.
            self._activity.learned(execution_id, _text(owner), _text(workflow), now)
        return True

    async def _write(self, due: Sequence[tuple[str, list[Note]]]) -> bool:
        """Write notes by organization. False if Redis was away: then they are still due."""
        if not due:
            return True
        calls = [
            index_call(
                organization_id,
                notes,
                limits=self._limits,
                channel_prefix=self._prefix,
                most=self._most,
            )
            for organization_id, notes in due
        ]
        try:
            answers = await scripts.run_all(self._redis, calls)
        except REDIS_ERRORS as error:
            answers = [error] * len(calls)
        was_away = False
        for (organization_id, notes), answer in zip(due, answers, strict=True):
            if isinstance(answer, Exception):
                if is_loss(answer):
                    # Or of a cluster, the node of this list. Health reports it.
                    self._again(organization_id, notes, answer)
                    was_away = True
                else:
                    self._refused(len(notes), answer)
                continue
            for note, text in zip(notes, answer, strict=True):
                if (entry := read_entry(text)) is not None:
                    self._activity.noted(note, entry)
                    self.on_noted(organization_id, note.execution_id, entry)
        return not was_away

    def _again(self, organization_id: str, notes: Sequence[Note], error: Exception) -> None:
        """Redis was away: *notes* are still due."""
        self._activity.again(notes)
        registered = [note for note in notes if note.kind == "registered"]
        if not registered:
            return
        waiting = self._registered.get(organization_id, [])
        if len(registered) + len(waiting) > _MOST_REGISTERED:
            self._refused(len(registered), error)
        else:
            self._registered[organization_id] = [*registered, *waiting]

    def _refused(self, notes: int, error: Exception) -> None:
        self._metrics.list_notes_lost += notes
        self._log.warning(
            log,
            "%d changes are missing in lists of executions until their next events: %s "
            "`sse-gateway check` says what is wrong with Redis, and which rights are missing.",
            notes,
            describe_redis_error(error),
        )


def _text(value: bytes | None) -> str | None:
    try:
        return value.decode() if value is not None else None
    except UnicodeDecodeError:
        return None
