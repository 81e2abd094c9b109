"""What a terminal shows of an execution: one line a step, and the state of the connection."""

from abc import ABC, abstractmethod
from datetime import UTC, datetime
from typing import Self

from rich.console import Console, ConsoleRenderable, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from gateway.events.ending import STANDARD
from gateway.events.json_edit import parse_object
from gateway.events.run import RunDocument, RunFold
from gateway.events.steps import StepLog
from gateway.harmless import harmless
from gateway.tools.tail.follow import Connected, Happened, Update
from gateway.tools.tail.stream import Ended, Waiting

_MARKS = {"success": ("✓", "green"), "error": ("✗", "red"), "interrupted": ("■", "yellow")}
_OTHER_LINES = 6
"""Lines beside the steps, at most."""
_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
"""With the seconds in each."""
STATUS_COLOURS = {"completed": "green", "failed": "red", "canceled": "yellow"}


class Redrawn(ABC):
    """What is drawn again and again where *console* is a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._state = Text("connecting …", "dim")
        self._live = Live(console=console, get_renderable=self._draw, refresh_per_second=8)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._live.__exit__(None, None, None)

    @abstractmethod
    def _draw(self) -> ConsoleRenderable:
        """All that is shown."""


class View(Redrawn):
    """The steps of one execution, redrawn on a terminal; elsewhere a line an event."""

    def __init__(self, execution_id: str, console: Console) -> None:
        self._execution_id = execution_id
        self._run = RunFold(STANDARD)
        self._steps: dict[int, StepLog] = {}
        self._awaited = ""
        self._spinner = Spinner("dots")
        # Last: it draws once.
        super().__init__(console)

    def show(self, update: Update) -> None:
        """Show *update*."""
        match update:
            case Happened("stream:reset", body):
                self._run = RunFold(self._run.terminal_types)
                self._steps.clear()
                is_restart = parse_object(body).get("reason") == "restarted"
                what = "run was restarted" if is_restart else "history starts again"
                self._set_state(f"the {what}", "yellow")
            case Happened("stream:gap", body):
                self._set_state(f"{parse_object(body).get('missed')} events were trimmed", "yellow")
            case Happened(event_type, body):
                if step := self._run.add(document := parse_object(body)):
                    self._steps[id(step)] = step
                self._line(event_type, document)
                self._state = Text("live", "green")
                self._awaited = _awaited(event_type, document)
            case Connected(terminal_types):
                self._run.terminal_types = terminal_types
                self._state = Text("live", "green")
            case Waiting(why, seconds):
                self._set_state(f"reconnecting in {seconds:.0f} s: {why}", "yellow")
            case Ended(status):
                self._summarize()
                self._set_state(status, STATUS_COLOURS.get(status, "yellow"))

    def _set_state(self, state: str, style: str) -> None:
        self._state = Text(harmless(state), style)
        if not self._console.is_terminal:
            self._console.print(self._state, soft_wrap=True)

    def _summarize(self) -> None:
        """What the lines do not say: the steps that were interrupted, and what is missing."""
        if self._console.is_terminal:
            return
        run = self._run.document(self._execution_id, "")
        lines = [
            f"interrupted: {_name(step)}"
            for step in self._steps.values()
            if step["status"] == "interrupted"
        ]
        for line in [*lines, *_missing(run)]:
            self._console.print(harmless(line), soft_wrap=True)

    def _line(self, event_type: str, document: dict[str, object]) -> None:
        if self._console.is_terminal:
            return
        data = document.get("data")
        node = data.get("node_type") or data.get("node_id") if isinstance(data, dict) else None
        line = f"{document.get('timestamp') or '-'} {event_type} {node or ''}"
        self._console.print(harmless(line.rstrip()), soft_wrap=True)

    def _draw(self) -> ConsoleRenderable:
        run = self._run.document(self._execution_id, "")
        table = Table.grid(padding=(0, 2))
        # A terminal shows the first lines of what is too long, and the newest ones matter.
        room = max(1, self._console.height - _OTHER_LINES)
        if (earlier := len(self._steps) - room) > 0:
            table.add_row(Text("…", "dim"), Text(f"{earlier} earlier steps", "dim"))
        for step in list(self._steps.values())[-room:]:
            table.add_row(*self._row(step))
        state = self._state
        if state.plain == "live":
            state = Text(f"waits for {self._awaited}" if self._awaited else run["status"])
        head = Text.assemble((self._execution_id, "bold"), "  ", state)
        parts: list[ConsoleRenderable] = [head, table]
        parts += [Text(line, "yellow") for line in _missing(run)]
        if run["error_message"]:
            parts.append(Text(harmless(run["error_message"]), "red"))
        if run["generated_document_id"]:
            parts.append(Text(harmless(f"document {run['generated_document_id']}"), "green"))
        return Group(*parts)

    def _row(self, step: StepLog) -> tuple[ConsoleRenderable, ...]:
        name = Text(harmless(_name(step)))
        if step["status"] == "running":
            took = Text(duration(since(step["started_at"])), "dim")
            return self._spinner, name, took, Text()
        mark, colour = _MARKS[step["status"]]
        took = Text(duration(step["duration_ms"]), "dim")
        if step["status"] == "interrupted":
            return Text(mark, colour), name, took, Text("interrupted", colour)
        return Text(mark, colour), name, took, Text(harmless(step["error"] or ""), "red")


def _name(step: StepLog) -> str:
    return step["node_type"] or step["node_id"] or "step"


def _missing(run: RunDocument) -> list[str]:
    """A line that says that this is a part of the run, if it is."""
    missing = run["events_missing"]
    return [f"a part of the run: {missing} events are missing"] if missing else []


def _awaited(event_type: str, document: dict[str, object]) -> str:
    """What the execution waits for after this event; empty if it does not wait."""
    if event_type != "execution:paused":
        return ""
    data = document.get("data")
    reason = data.get("reason") if isinstance(data, dict) else None
    return harmless(str(reason or "somebody"))


def since(started_at: str | None) -> float | None:
    """Milliseconds since a time of a run document."""
    if started_at is None:
        return None
    return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(started_at)).total_seconds() * 1000)


def duration(milliseconds: float | None) -> str:
    """For people, in its two largest units; empty where it is not known."""
    if milliseconds is None:
        return ""
    seconds = milliseconds / 1000
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = max(60, int(seconds))
    first = next(at for at, (size, _) in enumerate(_UNITS) if whole >= size)
    (large, unit), (small, rest) = _UNITS[first : first + 2]
    count = whole % large // small
    return f"{whole // large:,} {unit}" + (f" {count} {rest}" if count else "")
