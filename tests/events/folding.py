"""Folds all events of an execution at once."""

from collections.abc import Iterable

from gateway.events.ending import read_terminal_types
from gateway.events.run import RunDocument, RunFold
from gateway.settings import TERMINAL_TYPES


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
    run = RunFold(read_terminal_types(terminal_types), keep_logs=include_logs)
    for envelope in envelopes:
        run.add(envelope)
    document = run.document(execution_id, workflow_id)
    if include_logs:
        document["events"] = envelopes
    return document
