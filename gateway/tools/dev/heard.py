"""The runs that the page of `sse-gateway dev` lists: this gateway has received an event of each."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from gateway.components import Components
from gateway.errors import GatewayError, RedisUnavailable
from gateway.events.ending import TerminalTypes
from gateway.events.envelope import Envelope
from gateway.events.ids import EventId
from gateway.events.json_edit import parse_object
from gateway.events.run import RunFold
from gateway.http.run_cache import Key
from gateway.http.run_document import Query
from gateway.tools.dev.engine import ORGANIZATION

_MOST = 50
"""Most runs that are listed; a flood of ids must not grow the process."""


@dataclass(slots=True)
class _Heard:
    """One run, as far as this gateway has heard it."""

    fold: RunFold
    epoch: int | None = None
    has_gap: bool = False
    """Whether events may have been missed: then history knows more than was heard."""
    is_stale: bool = False
    """Whether history must be read again."""
    workflow_id: str | None = None
    document: dict[str, Any] = field(default_factory=dict)


class HeardRuns:
    """Remembers the latest runs; `note` is to be called with whatever arrives."""

    def __init__(
        self,
        workflow: Callable[[str], Awaitable[str | None]],
        read: Callable[[str], Awaitable[Mapping[str, Any]]],
        terminal_types: TerminalTypes,
    ) -> None:
        """*workflow* says of which one an execution is a run; may raise RedisUnavailable. *read*
        gives the run document of an execution's history; may raise GatewayError."""
        self._workflow = workflow
        self._read = read
        self._terminal_types = terminal_types
        self._runs: dict[str, _Heard] = {}

    def note(self, execution_id: str, envelopes: Sequence[Envelope]) -> None:
        """These have arrived for *execution_id*."""
        for envelope in envelopes:
            heard = self._heard(execution_id, envelope.id)
            heard.fold.add(parse_object(envelope.body))
            heard.is_stale = heard.has_gap
            if not heard.has_gap:
                heard.document = {**heard.fold.document(execution_id, "")}

    def missed(self) -> None:
        """A new subscription has begun: of a run that goes on, its end may have been missed."""
        for heard in self._runs.values():
            if not heard.document.get("completed_at"):
                heard.has_gap = heard.is_stale = True

    def _heard(self, execution_id: str, event_id: EventId | None) -> _Heard:
        heard = self._runs.get(execution_id)
        epoch = event_id.epoch if event_id is not None else None
        # After a restart the execution is another run, and the newest one.
        if heard is None or (epoch and heard.epoch and epoch != heard.epoch):
            self._runs.pop(execution_id, None)
            heard = self._runs[execution_id] = _Heard(RunFold(self._terminal_types))
            if len(self._runs) > _MOST:
                ended = (one for one, run in self._runs.items() if run.document.get("completed_at"))
                del self._runs[next(ended, next(iter(self._runs)))]
        heard.epoch = epoch or heard.epoch
        return heard

    async def list(self, simulated: Iterable[str] = ()) -> list[dict[str, Any]]:
        """What the page shows of each, the one that began last first; *simulated*: the executions
        of the engine, of which this gateway may have heard nothing since it was started."""
        simulated = list(simulated)
        for execution_id in simulated[-_MOST:]:
            if execution_id not in self._runs:
                fold = RunFold(self._terminal_types)
                self._runs[execution_id] = _Heard(fold, has_gap=True, is_stale=True)
        for execution_id, heard in list(self._runs.items()):
            if heard.workflow_id is None:
                # Without Redis its name comes later.
                with suppress(RedisUnavailable):
                    heard.workflow_id = await self._workflow(execution_id)
            if heard.is_stale:
                await self._read_again(execution_id, heard)
        return [
            {
                **heard.document,
                "workflow_id": heard.workflow_id,
                "simulated": execution_id in simulated,
            }
            for execution_id, heard in reversed(self._runs.items())
            # Else nothing of it is kept.
            if heard.document.get("status", "pending") != "pending"
        ]

    async def _read_again(self, execution_id: str, heard: _Heard) -> None:
        # Before the question: an event that arrives meanwhile asks for another one.
        heard.is_stale = False
        try:
            document = await self._read(execution_id)
        except GatewayError:
            heard.is_stale = True
            return
        if document["last_event_id"] or not heard.document:
            heard.document = {**document}


def heard_by(components: Components) -> HeardRuns:
    """Remembers the runs of which the gateway with these *components* hears."""

    async def read(execution_id: str) -> Mapping[str, Any]:
        key = Key(ORGANIZATION, execution_id, Query(with_logs=False))
        async with components.documents.read(key) as document:
            return document.run

    runs = HeardRuns(components.registry.workflow, read, components.rules.terminal_types)
    components.feed.on_heard = runs.note
    subscribed = components.subscription.on_confirmed

    def begun() -> None:
        subscribed()
        runs.missed()

    components.subscription.on_confirmed = begun
    return runs
