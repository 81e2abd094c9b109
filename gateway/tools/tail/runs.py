"""The list of an organization's executions over HTTP, kept up to date by its stream."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

from gateway.events import fields
from gateway.events.json_edit import parse_object
from gateway.tools.sse_parser import Frame
from gateway.tools.tail.stream import Stream

LIMIT = 100
"""Most executions that a list shows, and what it shows where nothing else is asked for."""


@dataclass(frozen=True, slots=True)
class Summary:
    """One execution of a list; what is not known is empty or None."""

    execution_id: str
    workflow_id: str
    status: str
    current_node: str
    steps_completed: float | None
    steps_failed: float | None
    started_at: str | None
    completed_at: str | None
    duration_ms: float | None
    error_message: str
    updated_at: str
    watching: float | None
    """Streams of it that are open."""


@dataclass(frozen=True, slots=True)
class Changed:
    """A frame of a list, which `ListFollower.shown` has taken in already."""

    type: str
    body: bytes
    """Its JSON, unchanged."""
    executions: tuple[Summary, ...] = ()
    """Those that it describes."""
    removed: str | None = None
    """The execution that the list does not show any more."""


@dataclass(slots=True, kw_only=True)
class ListFollower(Stream[Changed]):
    """Follows the list of *organization*, which never ends."""

    organization: str
    filters: Mapping[str, str] = field(default_factory=dict)
    """For the query: `status`, `workflow_id`."""
    limit: int = LIMIT
    shown: list[Summary] = field(default_factory=list, init=False)
    """What the list shows now, the newest activity first."""

    @property
    def path(self) -> str:
        organization = quote(self.organization, safe="")
        query = urlencode({"limit": self.limit, **self.filters})
        return f"/api/v1/sse/organizations/{organization}/executions/stream?{query}"

    def take(self, frame: Frame) -> Iterator[Changed]:
        document = parse_object(frame.data)
        if frame.event == "executions:snapshot":
            given = document.get("executions")
            some = summaries(given if isinstance(given, list) else ())
            self.show(some)
            yield Changed(frame.event, frame.data, some)
        elif frame.event in ("execution:added", "execution:updated"):
            some = summaries([document])
            self.show((*self.shown, *some))
            yield Changed(frame.event, frame.data, some)
        elif frame.event == "execution:removed":
            gone = fields.label(document.get("execution_id"))
            self.show(one for one in self.shown if one.execution_id != gone)
            yield Changed(frame.event, frame.data, removed=gone)

    def show(self, some: Iterable[Summary]) -> None:
        """Show the newest of *some*; of two about one execution the latter."""
        found = {one.execution_id: one for one in some}
        # Of two with the same time the smaller id comes first, as in the gateway.
        ordered = sorted(found.values(), key=lambda one: one.execution_id)
        ordered.sort(key=lambda one: one.updated_at, reverse=True)
        self.shown = ordered[: self.limit]


def summaries(given: Iterable[object]) -> tuple[Summary, ...]:
    """Those of *given*, which a gateway has sent."""
    return tuple(
        _summary(one) for one in given if isinstance(one, dict) and one.get("execution_id")
    )


def _summary(given: Mapping[str, object]) -> Summary:
    def text(name: str) -> str:
        return fields.label(given.get(name)) or ""

    def number(name: str) -> float | None:
        return fields.number(given.get(name))

    return Summary(
        execution_id=text("execution_id"),
        workflow_id=text("workflow_id"),
        status=text("status"),
        current_node=text("current_node"),
        steps_completed=number("steps_completed"),
        steps_failed=number("steps_failed"),
        started_at=fields.time(given.get("started_at")),
        completed_at=fields.time(given.get("completed_at")),
        duration_ms=number("duration_ms"),
        error_message=text("error_message"),
        updated_at=fields.time(given.get("updated_at")) or "",
        watching=number("watching"),
    )
