"""What a terminal shows of an execution: one line a step, and the state of the connection."""

from datetime import UTC, datetime

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
from gateway.tools.tail.follow import Connected, Ended, Happened, Update, Waiting

_MARKS = {"success": ("✓", "green"), "error": ("✗", "red"), "interrupted": ("■", "yellow")}
_STATUS_COLOURS = {"completed": "green", "failed": "red", "canceled": "yellow"}


class View:
    """The steps of one execution, redrawn on a terminal; elsewhere a line an event."""

    def __init__(self, execution_id: str, console: Console) -> None:
        self._execution_id = execution_id
        self._console = console
        self._run = RunFold(STANDARD)
        self._steps: dict[int, StepLog] = {}
        self._state = Text("connecting …", "dim")
        self._awaited = ""
        self._spinner = Spinner("dots")
        self._live = Live(console=console, get_renderable=self._draw, refresh_per_second=8)

    def __enter__(self) -> "View":
        if self._console.is_terminal:
            self._live.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._live.__exit__(None, None, None)

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
                self._set_state(status, _STATUS_COLOURS.get(status, "yellow"))

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
        for step in self._steps.values():
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
            duration = Text(_duration(_since(step["started_at"])), "dim")
            return self._spinner, name, duration, Text()
        mark, colour = _MARKS[step["status"]]
        duration = Text(_duration(step["duration_ms"]), "dim")
        if step["status"] == "interrupted":
            return Text(mark, colour), name, duration, Text("interrupted", colour)
        return Text(mark, colour), name, duration, Text(harmless(step["error"] or ""), "red")


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


def _since(started_at: str | None) -> float | None:
    """Milliseconds since a time of a run document."""
    if started_at is None:
        return None
    return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(started_at)).total_seconds() * 1000)


def _duration(milliseconds: float | None) -> str:
    if milliseconds is None:
        return ""
    seconds = milliseconds / 1000
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
