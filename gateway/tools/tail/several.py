"""Several executions on one stream, to the end of all of them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlencode

from rich.console import Console

from gateway.events import fields
from gateway.events.ending import EndingStatus, parse_status
from gateway.events.json_edit import parse_object
from gateway.harmless import harmless
from gateway.tools.sse_parser import Frame
from gateway.tools.tail.follow import Happened
from gateway.tools.tail.stream import Ended, Lost, Stream, Waiting

_NOTICES = ("stream:gap", "stream:reset", "stream:ended", "stream:absent")


@dataclass(slots=True, kw_only=True)
class SetFollower(Stream[Happened]):
    """Follows *execution_ids*. One that cannot be followed keeps the others from nothing."""

    execution_ids: tuple[str, ...]
    _ended: dict[str, EndingStatus] = field(default_factory=dict, init=False)
    _lost: dict[str, str] = field(default_factory=dict, init=False)
    """Why an execution cannot be followed."""

    @property
    def path(self) -> str:
        ids = dict.fromkeys(self.execution_ids)
        return "/api/v1/sse/executions/stream?" + urlencode([("execution_id", one) for one in ids])

    def take(self, frame: Frame) -> Iterator[Happened | Ended]:
        self.last_event_id = frame.id or self.last_event_id
        document = parse_object(frame.data)
        execution_id = fields.label(document.get("execution_id"))
        if frame.event == "heartbeat" or not frame.event or execution_id is None:
            return
        if frame.event == "stream:ended":
            self._ended[execution_id] = parse_status(document.get("status")) or "ended"
        elif frame.event == "stream:absent":
            self._lost[execution_id] = "there is no such execution"
        elif frame.event == "stream:closing":
            self._lost[execution_id] = fields.label(document.get("reason")) or "closed"
        if not frame.event.startswith("stream:") or frame.event in _NOTICES:
            yield Happened(frame.event, frame.data)

    def stopped(self) -> Ended | None:
        if self._ended.keys() | self._lost.keys() >= set(self.execution_ids):
            return self._all_ended()
        return None

    async def nothing_left(self) -> Ended:
        # The terminal events were received before.
        for one in self.execution_ids:
            if one not in self._ended and one not in self._lost:
                document = await self.get(f"/api/v1/workflows/-/runs/{one}")
                self._ended[one] = parse_status(document.get("status")) or "ended"
        return self._all_ended()

    def _all_ended(self) -> Ended:
        if self._lost:
            why = [f"{one}: {reason}" for one, reason in self._lost.items()]
            raise Lost(f"Not followed to the end: {', '.join(why)}.")
        statuses = set(self._ended.values())
        worst: tuple[EndingStatus, ...] = ("failed", "canceled", "ended", "completed")
        return Ended(next(one for one in worst if one in statuses))


class Lines:
    """Prints a line an event."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def show(self, update: Happened | Waiting | Ended) -> None:
        """Show *update*."""
        match update:
            case Happened(kind, body):
                event = parse_object(body)
                data = event.get("data")
                data = data if isinstance(data, dict) else {}
                words = (
                    *(event.get("timestamp") or "-", event.get("execution_id"), kind),
                    data.get("node_type") or data.get("node_id") or event.get("status"),
                )
                line = " ".join(str(word) for word in words if word)
            case Waiting(why, seconds):
                line = f"reconnecting in {seconds:.0f} s: {why}"
            case Ended(status):
                line = status
        self._console.print(harmless(line), soft_wrap=True)
