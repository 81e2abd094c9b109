"""What a soak has found: a table for people, JSON for machines, and what went wrong."""

import traceback
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.soak.claims import Claim
from tests.soak.run import Soak
from tests.soak.stage import Fault

_FAULTS_SHOWN = 3


def show(soak: Soak, console: Console) -> None:
    """The claims, then what has happened, then what went wrong."""
    table = Table("what", "began", "ended", "allowed", "")
    for column in (1, 2, 3):
        table.columns[column].justify = "right"
    for claim in soak.claims:
        table.add_row(
            claim.what,
            "" if claim.began is None else _number(claim.began),
            _number(claim.ended) + f" {claim.unit}".rstrip(),
            _number(claim.allowed),
            "[green]ok[/]" if claim.holds else "[red]NO[/]",
        )
    console.print(table)
    console.print(", ".join(f"{name} {count:,}" for name, count in sorted(soak.counted.items())))
    for line in soak.errors:
        console.print(f"[red]logged:[/] {line.rstrip()}", markup=True, highlight=False)
    if not soak.passed:
        console.print(_failure(soak), markup=False, highlight=False)


def to_json(soak: Soak) -> dict[str, Any]:
    """All that there is to know; a claim has `holds` beside its figures."""
    return {
        "seed": soak.seed,
        "passed": soak.passed,
        "claims": [asdict(claim) | {"holds": claim.holds} for claim in soak.claims],
        "looks": [[asdict(one) for one in looks] for looks in soak.looks],
        "counted": soak.counted,
        "faults": [asdict(fault) for fault in soak.faults],
        "errors": soak.errors,
        "broken": None if soak.broken is None else _in_full(soak.broken),
    }


def _failure(soak: Soak) -> str:
    lines = ["" if soak.broken is None else _in_full(soak.broken)]
    lines += [f"does not hold: {_describe(claim)}" for claim in soak.claims if not claim.holds]
    lines += ["the faults before that:", *map(_when, soak.faults[-_FAULTS_SHOWN:])]
    lines += [f"to repeat it: make soak ARGS='--seed {soak.seed}', with the same MINUTES"]
    return "\n".join(lines)


def _describe(claim: Claim) -> str:
    return f"{claim.what}: {_number(claim.ended)}, allowed {_number(claim.allowed)} {claim.unit}"


def _when(fault: Fault) -> str:
    began = datetime.fromtimestamp(fault.began, UTC)
    return f"  {began:%H:%M:%S} {fault.name}, for {fault.ended - fault.began:.1f} s"


def _in_full(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def _number(value: float) -> str:
    return f"{value:,.1f}" if isinstance(value, float) and value % 1 else f"{value:,.0f}"
