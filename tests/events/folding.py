"""Folds all events of an execution at once."""

from collections.abc import Collection, Iterable

from gateway.events.run import RunDocument, RunFold
from gateway.settings import TERMINAL_TYPES


def fold(
    events: Iterable[object],
    *,
    execution_id: str,
    workflow_id: str,
    include_logs: bool = False,
    terminal_types: Collection[str] = TERMINAL_TYPES,
) -> RunDocument:
    """The run document of all *events* of one execution, parsed envelopes in their order."""
    envelopes = list(events)
    run = RunFold(terminal_types, keep_logs=include_logs)
    for envelope in envelopes:
        run.add(envelope)
    document = run.document(execution_id, workflow_id)
    if include_logs:
        document["events"] = envelopes
    return document
