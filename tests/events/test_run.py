"""The run document, checked with vectors that the browser client folds too.

A vector is a file in `vectors/`, whose name says what it shows: `events` in, and `expected` out, as
`fold` returns it with logs, but for `events`, which are those that went in. `terminal_types` stands
where they are not the usual ones. `runs.jsonl` has whole runs, each with the part of its document
that it is about.
"""

import time
import tracemalloc
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.events.ending import STANDARD
from gateway.events.run import RunFold
from gateway.events.steps import Steps
from gateway.settings import TERMINAL_TYPES
from tests.events.folding import RUNS, fold, part, terminal_types_of
from tests.events.folding import VECTORS as DIRECTORY

VECTORS = sorted(DIRECTORY.glob("*.json"))
NAMES = [path.stem for path in VECTORS]


def folded(vector: dict[str, Any], events: list[Any], *, include_logs: bool) -> Any:
    return fold(
        events,
        execution_id=vector["execution_id"],
        workflow_id=vector["workflow_id"],
        include_logs=include_logs,
        terminal_types=vector.get("terminal_types", TERMINAL_TYPES),
    )


@pytest.mark.parametrize("path", VECTORS, ids=NAMES)
def test_every_vector_folds_to_its_document(path: Path) -> None:
    """Every vector's events fold to its document, with logs and, but for these, without."""
    vector = orjson.loads(path.read_bytes())
    expected = vector["expected"]
    with_logs = folded(vector, vector["events"], include_logs=True)
    assert with_logs == {**expected, "events": vector["events"]}
    without_logs = folded(vector, vector["events"], include_logs=False)
    assert without_logs == {
        name: value for name, value in expected.items() if not name.startswith("execution_logs")
    }


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run["name"])
def test_every_run_is_as_it_should_be(run: dict[str, Any]) -> None:
    """What a run's vector expects of its document is there."""
    types = terminal_types_of(run)
    document = fold(
        run["events"], execution_id="", workflow_id="", include_logs=True, terminal_types=types
    )
    assert part(document, run["expect"]) == run["expect"]


def test_keys_stand_in_the_order_of_the_contract() -> None:
    """The document has exactly the keys of the contract, in its order."""
    document = fold([], execution_id="run-1", workflow_id="flow-1", include_logs=True)
    assert list(document) == [
        "id", "workflow_id", "status", "started_at", "completed_at", "duration_ms",
        "current_node", "steps_completed", "error_message", "generated_document_id",
        "last_event_id", "complete", "events_missing", "execution_logs_from", "execution_logs",
        "events",
    ]  # fmt: skip


def test_end_that_is_no_longer_kept() -> None:
    """An end that only the registry remembers settles the run; one that was folded stays."""
    run = RunFold(STANDARD)
    run.end("canceled", "5-9")
    document = run.document("run-1", "flow-1")
    assert (document["status"], document["last_event_id"]) == ("canceled", "5-9")
    run.end("completed", "5-10")
    assert run.document("run-1", "flow-1")["status"] == "canceled"


def test_terminal_event_of_an_unknown_type() -> None:
    """The event that ended the stream ends the run, whatever its type says."""
    run = RunFold(STANDARD)
    run.add({"id": "5-1", "type": "over", "timestamp": "2026-03-02T08:00:00"}, ends=True)
    document = run.document("run-1", "flow-1")
    assert (document["status"], document["completed_at"]) == ("ended", "2026-03-02T08:00:00Z")


def test_memory_is_bounded() -> None:
    """A step with a large output that has ended leaves a hash of its end behind."""
    run = RunFold(STANDARD)

    def feed(count: int) -> int:
        for number in range(count):
            node = {"node_id": f"node-{number}", "node_type": "email"}
            run.add({"id": f"5-{number}", "type": "step:started", "data": node})
            ended = {**node, "output": "x" * 10_000}
            run.add({"id": f"5-{number}", "type": "step:completed", "data": ended})
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        short = feed(10)
        assert feed(1000) - short < 1000 * 128
    finally:
        tracemalloc.stop()
    assert run.document("run-1", "flow-1")["steps_completed"] == 1010


@pytest.mark.alone
def test_steps_of_one_node_side_by_side_take_no_more_time_each() -> None:
    """Of 10,000 items of one node, each as far as the last, none waits for a search among all."""

    def seconds(count: int) -> float:
        steps = Steps(pack=lambda output: output)
        items: list[dict[str, object]] = [
            {"node_id": "m", "position": number, "started_at": 1767607200 + number % 7}
            for number in range(count)
        ]
        begin = time.process_time()
        for event_type in ("step:started", "step:completed"):
            for item in items:
                steps.add(event_type, item, "2026-01-05T11:00:00Z")
        assert steps.completed == count
        return time.process_time() - begin

    assert seconds(10_000) < 30 * min(seconds(1000) for _ in range(3))


_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["2026-03-02T08:00:00", "0001-01-01T00:00:00+23:59", "running", "error"])
)
_JSON = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_FIELDS = [
    "node_id", "node_type", "position", "status", "started_at", "completed_at", "duration_ms",
    "output", "error", "error_message", "execution_time_ms", "generated_document_id",
]  # fmt: skip
_TYPES = [*TERMINAL_TYPES, "step:started", "step:completed", "step:failed", "execution:paused"]
_ENVELOPES = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from(["5-1", "5-2"]) | _JSON,
        "type": st.sampled_from(_TYPES) | _JSON,
        "data": st.dictionaries(st.sampled_from(_FIELDS), _JSON) | _JSON,
        "timestamp": _JSON,
    },
)


@pytest.mark.fuzz
@given(st.lists(_ENVELOPES | _JSON, max_size=6))
def test_no_json_makes_the_fold_raise(events: list[Any]) -> None:
    """No JSON makes the fold raise, and its document always has the contract's types."""
    document = fold(events, execution_id="run-1", workflow_id="flow-1", include_logs=True)
    assert document["status"] in {
        "pending", "running", "paused", "completed", "failed", "canceled", "ended",
    }  # fmt: skip
    logs = document["execution_logs"]
    assert document["steps_completed"] == sum(step["status"] == "success" for step in logs)
    for name, value in document.items():
        if name.endswith(("_at", "_id", "_message")):
            assert value is None or isinstance(value, str)
    for step in logs:
        assert step["status"] in {"running", "success", "error", "interrupted"}
        assert step["duration_ms"] is None or step["duration_ms"] >= 0
        assert step["error"] is None or isinstance(step["error"], str)


@pytest.mark.fuzz
@given(st.lists(_ENVELOPES, max_size=8))
def test_logs_change_nothing_else(events: list[Any]) -> None:
    """With and without logs the run is the same: only the bounded fold forgets."""
    both = [
        fold(events, execution_id="run-1", workflow_id="flow-1", include_logs=include_logs)
        for include_logs in (False, True)
    ]
    assert both[0] == {name: both[1][name] for name in both[0]}  # type: ignore[literal-required]
