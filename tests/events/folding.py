"""Folds all events of an execution at once, and the vectors of whole runs."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from gateway.events.ending import read_terminal_types
from gateway.events.run import RunDocument, RunFold
from gateway.events.steps import StepLog
from gateway.settings import TERMINAL_TYPES

VECTORS = Path(__file__).parent / "vectors"
RUNS: list[dict[str, Any]] = [
    orjson.loads(line) for line in (VECTORS / "runs.jsonl").read_bytes().splitlines()
]
"""Each with `name`, `events`, a part of the document (`expect`), and `settings` where they are not
the usual ones. With `own_ids` the events have ids that no gateway gives them."""


def fold(
    events: Iterable[object],
    *,
    execution_id: str,
    workflow_id: str,
    include_logs: bool = False,
    terminal_types: Iterable[str] = TERMINAL_TYPES,
) -> RunDocument:
    """The run document of all *events* of one execution, parsed envelopes in their order."""
    envelopes = list(events)
    run = RunFold(read_terminal_types(terminal_types))
    steps: dict[int, StepLog] = {}
    for envelope in envelopes:
        if step := run.add(envelope):
            steps[id(step)] = step
    document = run.document(execution_id, workflow_id)
    if include_logs:
        document["execution_logs_from"] = run.logs_from
        document["execution_logs"] = list(steps.values())
        document["events"] = envelopes
    return document


def terminal_types_of(run: dict[str, Any]) -> list[str]:
    """What ends this one of `RUNS`, as the setting has it."""
    setting = run.get("settings", {}).get("GATEWAY_TERMINAL_TYPES")
    return setting.split(",") if setting else list(TERMINAL_TYPES)


def part(document: Any, expected: Any) -> Any:
    """*document* with only the members of *expected*, at any depth; lists keep their length."""
    if isinstance(document, dict) and isinstance(expected, dict):
        return {name: part(document.get(name), one) for name, one in expected.items()}
    if isinstance(document, list) and isinstance(expected, list):
        rest = [None] * len(document)
        return [part(*pair) for pair in zip(document, expected + rest, strict=False)]
    return document
