"""What a terminal shows of a load test: its progress, and a table and the result at its end.

It only reads what the run counts anyway, a few times a second, so that it does not slow the tabs.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from gateway.harmless import harmless
from gateway.tools.loadtest.findings import Findings, describe_result
from gateway.tools.loadtest.timeline import Sample

if TYPE_CHECKING:
    from gateway.tools.loadtest.run import LoadTest

_REFRESH_PER_SECOND = 2
_LINE_EVERY = 5.0
"""Seconds."""
_PROBLEMS_SHOWN = 8


def progress(test: "LoadTest", console: Console) -> Live:
    """A context in which *console* shows the progress of *test*, if it is a terminal."""
    return Live(
        get_renderable=lambda: _bars(test),
        console=console,
        refresh_per_second=_REFRESH_PER_SECOND,
        transient=True,
    )


def lines(console: Console) -> Callable[[Sample], None]:
    """Where *console* is no terminal: prints a line every few seconds, for a log."""
    due = 0.0

    def line(sample: Sample) -> None:
        nonlocal due
        if not console.is_terminal and sample.seconds >= due:
            due = sample.seconds + _LINE_EVERY
            console.print(
                f"{sample.seconds:6.0f} s  {sample.open_tabs:,} tabs open, "
                f"{sample.events_per_second:,.0f} events/s, "
                f"latency p50 {sample.p50_ms:.1f} ms, p99 {sample.p99_ms:.1f} ms",
                highlight=False,
            )

    return line


def _bars(test: "LoadTest") -> Table:
    accounts, plan = test.ledger.accounts, test.plan
    table = Table.grid(padding=(0, 2))
    for name, done, total in (
        ("Tabs opened", sum(account.opened for account in accounts), plan.tabs),
        ("Events published", test.published, plan.total),
        ("Events received", test.ledger.received, plan.tabs * plan.events),
        ("Streams ended", sum(account.ended for account in accounts), plan.tabs),
    ):
        table.add_row(
            name, ProgressBar(total=total, completed=done, width=40), f"{done:,} of {total:,}"
        )
    if test.ledger.timeline.samples:
        last = test.ledger.timeline.samples[-1]
        now = f"{last.events_per_second:,.0f} events/s, p99 {last.p99_ms:.1f} ms"
        table.add_row("Now", f"{last.open_tabs:,} tabs open, {now}")
    return table


def show(findings: Findings, console: Console) -> None:
    """Print the findings as a table, the problems, and the result."""
    console.print(_table(findings))
    for problem, count in list(findings.troubles.items())[:_PROBLEMS_SHOWN]:
        console.print(Text(f"{count:,} tabs: {harmless(problem)}", style="red"))
    if findings.unheard:
        console.print(
            Text(
                f"{findings.unheard:,} published events reached no subscription: is --publish the "
                "Redis that the gateway listens on, and --channel-prefix its prefix?",
                style="red",
            )
        )
    for reason, count in list(findings.interruptions.items())[:_PROBLEMS_SHOWN]:
        console.print(Text(f"{count:,} streams ended early: {harmless(reason)}"))
    console.print(Text(harmless(describe_result(findings)), _colour(findings.ok)))


def _table(findings: Findings) -> Table:
    table = Table(show_header=False, box=None)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("Tabs opened", f"{findings.opened:,} of {findings.tabs:,}")
    table.add_row("Streams ended", f"{findings.ended:,} of {findings.tabs:,}")
    table.add_row("Events received", f"{findings.received:,} of {findings.expected:,}")
    for name, count in (
        ("Lost", findings.lost),
        ("Duplicated", findings.duplicated),
        ("Out of order", findings.out_of_order),
        ("Of other executions", findings.foreign),
        ("With an id out of sequence", findings.misnumbered),
    ):
        table.add_row(f"  {name.lower()}", Text(f"{count:,}", _colour(not count)))
    table.add_row("Opening", _rate(findings.opened, findings.opening_seconds))
    table.add_row("Publishing", _rate(findings.published, findings.publishing_seconds))
    for name, milliseconds in findings.latency_ms.items():
        table.add_row(f"Latency {name}", f"{milliseconds:,.1f} ms")
    table.add_row("Time to first event p99", f"{findings.first_event_ms['p99']:,.1f} ms")
    for name, count in (
        ("Reconnects", findings.reconnects),
        ("Pages reloaded", findings.reloads),
        ("Tabs that never read", findings.frozen),
        ("Trimmed before a reload", findings.trimmed),
    ):
        if count:
            table.add_row(name, f"{count:,}")
    if findings.storm_seconds is not None:
        table.add_row("All back after the storm", f"{findings.storm_seconds:.1f} s")
    for text, met in findings.objectives.items():
        table.add_row(
            Text(f"Objective {harmless(text)}"), Text("met" if met else "missed", _colour(met))
        )
    return table


def _colour(good: bool) -> str:
    return "green" if good else "bold red"


def _rate(count: int, seconds: float) -> str:
    return f"{count / seconds:,.0f}/s in {seconds:.1f} s" if seconds else "none"
