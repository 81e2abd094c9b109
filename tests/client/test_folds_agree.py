"""Whatever is published, in whatever order and however often: the folds of the gateway and of the
client agree, and say nothing that the events do not."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.events.folding import fold
from tests.npm import NODE

TIMES = [
    None, "soon", 0, 1767607200, 1767607201.5, 1767607202000, 1767607203000000,
    "2026-01-05T10:00:04Z", "2026-01-05T11:00:05.25+01:00", "2026-01-05 10:00:06",
]  # fmt: skip
ERRORS = [None, "x", 404, ["a", 1], {"code": 7}, {"message": "no"}, {"message": ["no"]}, {}]
ENDS = {"step:completed": "success", "step:failed": "error"}
RUN_ENDS = [
    "execution:completed", "execution:failed", "execution:canceled", "execution:cancelled",
    "job:done", "run.over", "closed",
]  # fmt: skip
TERMINAL_TYPES = [*RUN_ENDS[:-1], "closed=canceled"]


def some(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


STEPS = st.fixed_dictionaries(
    {
        "type": some("step:started", *ENDS),
        "data": st.fixed_dictionaries(
            {"node_id": some("a", "b", 7, None)},
            optional={
                "started_at": some(*TIMES),
                "completed_at": some(*TIMES),
                "position": some(1, 2, 2.0, -1, "1"),
                "attempt": some(1, "1", 2, None),
                "duration_ms": some(0, 12.5, "7", None),
                "error": some(*ERRORS),
                "output": some(None, {"rows": [1]}),
            },
        ),
    },
    optional={"timestamp": some(*TIMES)},
)
OTHERS = st.fixed_dictionaries(
    {
        "type": some("execution:paused", "execution:resumed", "comment:added", *RUN_ENDS),
        "data": st.fixed_dictionaries(
            {},
            optional={
                "error": some(*ERRORS),
                "status": some("failed", "done", "running", 200, None),
                "completed_at": some(*TIMES),
            },
        ),
    },
    optional={
        "timestamp": some(*TIMES),
        "id": some("5-1", "5-2", "5-7", "6-1", "7"),
        "trimmed": some(["error"], ["data"], ["output"], "error", None),
    },
)
PUBLISHED = st.lists(STEPS | STEPS | OTHERS, min_size=1, max_size=8)


@pytest.fixture(scope="module")
def client() -> Iterator["subprocess.Popen[bytes]"]:
    """A process of Node that folds line by line: one for all examples."""
    script = Path(__file__).with_name("fold_lines.mjs")
    pipe = subprocess.PIPE
    with subprocess.Popen([NODE, script], stdin=pipe, stdout=pipe) as process:
        yield process
        process.kill()


@pytest.mark.fuzz
@given(PUBLISHED, st.data())
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_was_published(
    client: "subprocess.Popen[bytes]", published: list[Any], data: st.DataObject
) -> None:
    """Both folds give the same document; an ended run has no running step; nothing is counted that
    was not published, and no end of a step is missing."""
    events = data.draw(st.lists(st.sampled_from(published), max_size=16))
    assert client.stdin is not None
    assert client.stdout is not None
    client.stdin.write(orjson.dumps(events) + b"\n")
    client.stdin.flush()
    document = fold(
        events,
        execution_id="",
        workflow_id="",
        include_logs=True,
        terminal_types=TERMINAL_TYPES,
    )
    assert orjson.loads(client.stdout.readline()) == document
    statuses: list[str] = [step["status"] for step in document["execution_logs"]]
    has_ended = any(event["type"] in RUN_ENDS for event in events)
    assert (document["completed_at"] is None) or has_ended
    assert ("running" in statuses) <= (not has_ended)
    assert ("interrupted" in statuses) <= has_ended
    assert document["current_node"] is None or "running" in statuses
    ends = [event for event in events if event["type"] in ENDS]
    counted = [status for status in statuses if status in ENDS.values()]
    assert document["steps_completed"] == statuses.count("success")
    assert len(statuses) <= sum(event["type"].startswith("step:") for event in events)
    for event_type, status in ENDS.items():
        assert statuses.count(status) <= sum(event["type"] == event_type for event in ends)
    assert {(event["data"]["node_id"], ENDS[event["type"]]) for event in ends} == {
        (7 if step["node_id"] == "7" else step["node_id"], step["status"])
        for step in document["execution_logs"]
        if step["status"] in ENDS.values()
    }
    assert len(counted) >= len({orjson.dumps(_end(event)) for event in ends})


def _end(event: dict[str, Any]) -> list[Any]:
    """What at least tells an end from all others."""
    return [event["type"], event["data"]["node_id"], event["data"].get("attempt") in (1, "1")]
