"""What a terminal shows of an organization's executions: a line each, the newest activity first."""

from rich.console import Console, ConsoleRenderable, Group
from rich.table import Table
from rich.text import Text

from gateway.harmless import harmless
from gateway.tools.tail.runs import Changed, ListFollower, Summary
from gateway.tools.tail.stream import Ended, Waiting
from gateway.tools.tail.view import STATUS_COLOURS, Redrawn, duration, since

_OTHER_LINES = 4
"""Lines beside those of the executions, at most."""
_COLUMNS = ("EXECUTION", "WORKFLOW", "STATUS", "NODE", "STEPS", "WATCHING", "TIME", "")


class Board(Redrawn):
    """The executions of one organization, redrawn on a terminal; elsewhere a line a change."""

    def __init__(self, follower: ListFollower, console: Console) -> None:
        self._follower = follower
        self._printed: dict[str, tuple[str, ...]] = {}
        """What was printed of each execution that is shown, where this is no terminal."""
        # Last: it draws once.
        super().__init__(console)

    def show(self, update: Changed | Waiting | Ended) -> None:
        """Show *update*, which the follower has taken in."""
        if isinstance(update, Changed):
            self._state = Text("live", "green")
            if not self._console.is_terminal:
                self._print_changes(update)
        elif isinstance(update, Waiting):
            words = f"reconnecting in {update.seconds:.0f} s: {update.why}"
            self._state = Text(harmless(words), "yellow")
            if not self._console.is_terminal:
                self._console.print(self._state, soft_wrap=True)

    def _print_changes(self, changed: Changed) -> None:
        for one in changed.executions:
            # After a loss the snapshot has all of them again, and most are as they were.
            if self._printed.get(one.execution_id) != (cells := _cells(one)):
                took = [duration(one.duration_ms)] if one.completed_at else []
                self._line(one.updated_at, *cells[:-1], *took, cells[-1])
        if changed.removed is not None:
            self._line("-", changed.removed, "removed")
        self._printed = {one.execution_id: _cells(one) for one in self._follower.shown}

    def _line(self, *words: str) -> None:
        self._console.print(harmless(" ".join(filter(None, words))), soft_wrap=True)

    def _draw(self) -> ConsoleRenderable:
        shown = self._follower.shown
        table = Table.grid(padding=(0, 2))
        if shown:
            table.add_row(*(Text(name, "dim") for name in _COLUMNS))
        room = max(1, self._console.height - _OTHER_LINES)
        for one in shown[:room]:
            *cells, error = map(harmless, _cells(one))
            row = [Text(cell, overflow="ellipsis", no_wrap=True) for cell in cells]
            row[2].stylize(STATUS_COLOURS.get(one.status, ""))
            took = one.duration_ms if one.completed_at else since(one.started_at)
            row += [
                Text(duration(took), "dim"),
                Text(error, "red", overflow="ellipsis", no_wrap=True),
            ]
            table.add_row(*row)
        running = sum(one.status == "running" for one in shown)
        head = Text.assemble(
            (harmless(self._follower.organization), "bold"), "  ", self._state,
            (f"  {running} of {len(shown)} are running", "dim"),
        )  # fmt: skip
        parts: list[ConsoleRenderable] = [head, table]
        if (more := len(shown) - room) > 0:
            parts.append(Text(f"… {more} more", "dim"))
        return Group(*parts)


def _cells(one: Summary) -> tuple[str, ...]:
    """What is shown of an execution but its time: a text for each column, the error last."""
    steps = [
        f"{count:.0f} {word}"
        for count, word in ((one.steps_completed, "completed"), (one.steps_failed, "failed"))
        if count
    ]
    watching = f"{one.watching:.0f} watching" if one.watching else ""
    return (
        *(one.execution_id, one.workflow_id, one.status, one.current_node),
        *(", ".join(steps), watching, one.error_message),
    )
