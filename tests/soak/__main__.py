"""`python -m tests.soak`, which is `make soak`: plays, and shows what was found."""

import argparse
import asyncio
import sys
from dataclasses import asdict
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table

from gateway.limits import raise_file_limit
from tests.soak.play import Outcome, soak


def main() -> None:
    parser = argparse.ArgumentParser(prog="make soak ARGS=...", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="how long, about")
    parser.add_argument("--seed", type=int, default=1, help="of all that happens by chance")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found to FILE")
    asked = parser.parse_args()
    raise_file_limit()
    console = Console()
    outcome = asyncio.run(soak(asked.minutes * 60, asked.seed, console.print))
    show(outcome, console)
    if asked.json is not None:
        asked.json.write_bytes(orjson.dumps(asdict(outcome), option=orjson.OPT_INDENT_2))
    if not outcome.is_well:
        console.print(f"Not well. To repeat it: --seed {asked.seed}", style="bold red")
        sys.exit(1)


def show(outcome: Outcome, console: Console) -> None:
    table = Table("", "began", "ended", "allowed", "")
    for line in outcome.lines:
        said = "" if line.is_well else "too many"
        table.add_row(line.what, *map(str, (line.began, line.ended, line.allowed)), said)
    console.print(table)
    account = outcome.account
    console.print(
        f"{account.checked} tabs saw an execution to its end, {account.events} events in order; "
        f"{account.resets} were told that a history began anew. Faults played: {outcome.faults}"
    )
    for fault in (*account.faults[:20], *outcome.unexpected[:20]):
        console.print(fault, style="red", markup=False)


if __name__ == "__main__":
    main()
