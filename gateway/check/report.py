"""Shows findings, to people and to programs."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.text import Text

from gateway.check.finding import Finding, Level, worst

_MARKS = {
    Level.OK: ("ok", "green"),
    Level.NOTE: ("note", "cyan"),
    Level.WARNING: ("warning", "yellow"),
    Level.ERROR: ("error", "bold red"),
}
_WIDTH = max(len(mark) for mark, _ in _MARKS.values())


def show(findings: Sequence[Finding], console: Console) -> None:
    """Print *findings*, by what they are about, and a line that sums them up."""
    for about, group in groupby(findings, key=lambda one: one.about):
        console.print(Text(about, style="bold"))
        for finding in group:
            mark, style = _MARKS[finding.level]
            line = Text("  ").append(mark.ljust(_WIDTH), style=style).append("  ")
            console.print(line.append(finding.sentence), soft_wrap=True)
            if finding.remedy:
                console.print(Text(" " * (_WIDTH + 4)).append(finding.remedy), soft_wrap=True)
    errors = sum(one.level is Level.ERROR for one in findings)
    warnings = sum(one.level is Level.WARNING for one in findings)
    console.print(Text(f"{errors} errors, {warnings} warnings.", style=_MARKS[worst(findings)][1]))


def document(findings: Sequence[Finding]) -> dict[str, Any]:
    """The same for machines."""
    return {
        "worst": worst(findings),
        "findings": [
            {
                "about": one.about,
                "level": one.level,
                "sentence": one.sentence,
                "remedy": one.remedy,
            }
            for one in findings
        ],
    }
