"""One execution's events over HTTP, once and in order, through all reconnects."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from gateway.events.ending import STANDARD, EndingStatus, TerminalTypes, parse_status, status_of
from gateway.events.json_edit import parse_object
from gateway.tools.sse_parser import Frame
from gateway.tools.tail.stream import Ended, Lost, Stream, Waiting

_NOTICES = frozenset({"stream:gap", "stream:reset"})


@dataclass(frozen=True, slots=True)
class Happened:
    """An event of the execution, or a `stream:gap` or `stream:reset`."""

    type: str
    body: bytes
    """Its JSON, unchanged."""


@dataclass(frozen=True, slots=True)
class Connected:
    """A stream is open."""

    terminal_types: TerminalTypes


Update = Happened | Connected | Waiting | Ended


@dataclass(slots=True, kw_only=True)
class Follower(Stream[Happened | Connected]):
    """Follows *execution_id*."""

    execution_id: str
    _terminal_types: TerminalTypes = field(default_factory=lambda: STANDARD, init=False)
    _ended: EndingStatus | None = field(default=None, init=False)
    """What `connected` said: its history may have expired, and only the end be known."""

    @property
    def path(self) -> str:
        return f"/api/v1/sse/executions/{self.execution_id}/stream"

    def connected(self, document: Mapping[str, object]) -> Connected:
        self._ended = parse_status(document.get("status"))
        self._terminal_types = _terminal_types(document.get("terminal_types"))
        return Connected(self._terminal_types)

    def take(self, frame: Frame) -> Iterator[Happened | Ended]:
        if (
            frame.event == "stream:closing"
            and parse_object(frame.data).get("reason") == "forgotten"
        ):
            raise Lost("The execution was deleted, and nothing of it is kept.")
        if frame.event in _NOTICES:
            if frame.event == "stream:reset":
                self.last_event_id = None
        elif frame.event == "heartbeat" or frame.event.startswith("stream:"):
            return
        else:
            self.last_event_id = frame.id or self.last_event_id
        if frame.event:
            yield Happened(frame.event, frame.data)
        if frame.event in self._terminal_types:
            yield Ended(status_of(frame.event, frame.data, self._terminal_types))

    def stopped(self) -> Ended | None:
        return Ended(self._ended) if self._ended is not None else None

    async def nothing_left(self) -> Ended:
        # The terminal event was received before.
        document = await self.get(f"/api/v1/workflows/-/runs/{self.execution_id}")
        return Ended(parse_status(document.get("status")) or "ended")


def _terminal_types(given: object) -> TerminalTypes:
    """What ends a run, as `connected` names it."""
    if not isinstance(given, dict):
        return STANDARD
    return {name: parse_status(status) for name, status in given.items()}
