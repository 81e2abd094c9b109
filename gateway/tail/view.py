"""What a person sees of an execution in a terminal: one line a step, and how the connection is.

It is drawn anew from the folded run, so that a reset or a second attempt needs no rule here.
"""

from datetime import UTC, datetime

from rich.console import Console, ConsoleRenderable, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from gateway.events.parse import parse
from gateway.events.run import RunFold
from gateway.events.steps import StepLog
from gateway.tail.follow import Connected, Ended, Happened, Update, Waiting

_MARKS = {"success": ("✓", "green"), "error": ("✗", "red")}
_ENDS = {"completed": "green", "failed": "red", "canceled": "yellow"}


class View:
    """The steps of one execution, live where the terminal can be drawn on; else a line an event."""

    def __init__(self, execution_id: str, console: Console) -> None:
        self._execution_id = execution_id
        self._console = console
        self._run = RunFold(keep_logs=True)
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
        """Take in what has happened."""
        match update:
            case Happened("stream:reset", _):
                self._run = RunFold(keep_logs=True)
                self._say(Text("the history has begun anew", "yellow"))
            case Happened("stream:gap", body):
                self._say(Text(f"{parse(body).get('missed')} events are no longer kept", "yellow"))
            case Happened(event_type, body):
                self._run.add(document := parse(body))
                self._line(event_type, document)
                self._state = Text("live", "green")
                self._awaited = _awaited(event_type, document)
            case Connected():
                self._state = Text("live", "green")
            case Waiting(why, seconds):
                self._say(Text(f"reconnecting in {seconds:.0f} s: {why}", "yellow"))
            case Ended(status):
                self._say(Text(status, _ENDS[status]))

    def _say(self, words: Text) -> None:
        self._state = words
        if not self._console.is_terminal:
            self._console.print(words, soft_wrap=True)

    def _line(self, event_type: str, document: dict[str, object]) -> None:
        if self._console.is_terminal:
            return
        data = document.get("data")
        node = data.get("node_type") or data.get("node_id") if isinstance(data, dict) else None
        line = f"{document.get('timestamp') or '-'} {event_type} {node or ''}"
        self._console.print(_plain(line.rstrip()), soft_wrap=True)

    def _draw(self) -> ConsoleRenderable:
        run = self._run.document(self._execution_id, "")
        table = Table.grid(padding=(0, 2))
        for step in run.get("execution_logs", []):
            table.add_row(*self._row(step))
        words = self._state
        if words.plain == "live":
            words = Text(f"waits for {self._awaited}" if self._awaited else run["status"])
        head = Text.assemble((self._execution_id, "bold"), "  ", words)
        parts: list[ConsoleRenderable] = [head, table]
        if run["error_message"]:
            parts.append(Text(_plain(run["error_message"]), "red"))
        if run["generated_document_id"]:
            parts.append(Text(_plain(f"document {run['generated_document_id']}"), "green"))
        return Group(*parts)

    def _row(self, step: StepLog) -> tuple[ConsoleRenderable, ...]:
        name = Text(_plain(step["node_type"] or step["node_id"] or "step"))
        if step["status"] == "running":
            return self._spinner, name, Text(_lasted(_since(step["started_at"])), "dim"), Text()
        mark, colour = _MARKS[step["status"]]
        lasted = Text(_lasted(step["duration_ms"]), "dim")
        return Text(mark, colour), name, lasted, Text(_plain(step["error"] or ""), "red")


def _awaited(event_type: str, document: dict[str, object]) -> str:
    """What the execution waits for since this event; empty where it does not wait."""
    if event_type != "execution:paused":
        return ""
    data = document.get("data")
    reason = data.get("reason") if isinstance(data, dict) else None
    return _plain(str(reason or "somebody"))


def _plain(text: str) -> str:
    """*text* without what a terminal would obey: it is whatever a producer has sent."""
    return "".join(one if one.isprintable() else " " for one in text)


def _since(started_at: str | None) -> float | None:
    """Milliseconds since a time of a run document."""
    if started_at is None:
        return None
    return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(started_at)).total_seconds() * 1000)


def _lasted(milliseconds: float | None) -> str:
    if milliseconds is None:
        return ""
    seconds = milliseconds / 1000
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
