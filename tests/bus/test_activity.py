"""What is still to be noted in the lists of executions."""

import pytest

from gateway.bus import activity
from gateway.bus.activity import Activity
from gateway.events.ending import STANDARD
from gateway.events.envelope import decode


def arrived(executions: Activity, execution_id: str, event_type: str) -> None:
    message = f'{{"type":"{event_type}","id":"1000-5"}}'
    executions.note(execution_id, [decode(message.encode(), 1000)], None, 0.0)


def test_the_end_of_a_long_execution_is_noted_where_many_new_ones_begin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That of which nothing came for longest is forgotten first, not what began first."""
    monkeypatch.setattr(activity, "_MOST", 2)
    executions = Activity(STANDARD)
    arrived(executions, "long", "step:started")
    arrived(executions, "quiet", "step:started")
    arrived(executions, "long", "execution:completed")
    arrived(executions, "new", "step:started")
    executions.learned("long", "acme", None, 0.0)
    [note] = executions.collect(0.0)[0]["acme"]
    assert (note.execution_id, note.status) == ("long", "completed")
