"""`python -m tests.bench`, which is `make bench`: plays the scenarios and shows what they found."""

import argparse
import json
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console
from rich.table import Table

from tests.bench.figures import Figure, ratios, to_json
from tests.bench.processes import CannotMeasure
from tests.bench.scenarios import SCENARIOS
from tests.bench.stage import stage


def arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=...", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, help="play these alone")
    parser.add_argument("--quick", action="store_true", help="tiny: shows that the bench works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="with a run written before")
    return parser.parse_args()


def machine() -> dict[str, str]:
    """What the figures hold for."""
    cpus = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    models = [line.partition(":")[2].strip() for line in cpus.splitlines() if "model name" in line]
    names = ("aiohttp", "redis", "hiredis", "uvloop", "orjson")
    return {
        "cpu": f"{os.cpu_count()} x {models[0] if models else platform.processor()}",
        "kernel": platform.release(),
        "python": platform.python_version(),
        **{name: version(name) for name in names},
    }


async def play(asked: argparse.Namespace) -> tuple[list[Figure], list[str]]:
    """Play what is asked for; the figures, and what makes them doubtful."""
    said = Console(stderr=True)
    async with stage(full=not asked.quick) as made:
        if os.getloadavg()[0] > 1.0:
            made.notes.append(
                f"noisy: the load was {os.getloadavg()[0]:.1f} before the bench began"
            )
        for name in asked.only or SCENARIOS:
            said.print(f"{name} ...")
            await SCENARIOS[name](made)
        return made.figures, made.notes


def show(figures: list[Figure], notes: list[str], before: dict[str, Any] | None) -> None:
    """The table, for people."""
    table = Table("figure", "value", "unit", "target", "", *(["x before"] if before else []))
    for column in (1, 3):
        table.columns[column].justify = "right"
    compared = ratios(figures, before) if before else {}
    words = {True: "[green]reached[/]", False: "[red]missed[/]", None: ""}
    for one in figures:
        value = f"{one.value:,.0f}" if abs(one.value) >= 1000 else f"{one.value:.3g}"
        ratio = [f"{compared[one.name]:.2f}" if one.name in compared else ""] if before else []
        table.add_row(one.name, value, one.unit, one.target, words[one.met], *ratio)
    console = Console()
    console.print(table)
    for note in notes:
        console.print(f"[yellow]{note}[/]")


def main() -> None:
    asked = arguments()
    before = json.loads(asked.compare.read_text()) if asked.compare else None
    try:
        figures, notes = uvloop.run(play(asked))
    except CannotMeasure as error:
        sys.exit(str(error))
    show(figures, notes, before)
    if asked.json:
        asked.json.write_text(json.dumps(to_json(figures, machine()) | {"notes": notes}, indent=1))


if __name__ == "__main__":
    main()
