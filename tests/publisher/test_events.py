"""A method for each event of the front-end document, with every field that it shows."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import orjson
import pytest
from redis.asyncio import Redis

from gateway.events.fields import stamp
from gateway.publisher import EventRefused
from gateway.publisher.encoding import instant, milliseconds
from tests.harness.history import kept
from tests.publisher.conftest import Either

BEGIN = "2024-01-15T10:30:00.000Z"
END = "2024-01-15T10:30:05.000Z"
NODE = {"node_id": "n1", "node_type": "google-docs"}
OUTPUT = {"document_id": "doc-1", "file_url": "https://files.example/1"}

# Method, what it is given, the event's type and its whole data.
EVENTS: list[tuple[str, dict[str, Any], str, dict[str, Any]]] = [
    (
        "step_started",
        {**NODE, "started_at": BEGIN},
        "step:started",
        {**NODE, "status": "running", "started_at": BEGIN},
    ),
    (
        "step_started",
        {**NODE, "started_at": BEGIN, "position": 3},
        "step:started",
        {**NODE, "status": "running", "started_at": BEGIN, "position": 3},
    ),
    (
        "step_completed",
        {**NODE, "started_at": BEGIN, "completed_at": END, "position": 1, "output": OUTPUT},
        "step:completed",
        {
            **NODE,
            "status": "success",
            "started_at": BEGIN,
            "completed_at": END,
            "duration_ms": 5000,
            "position": 1,
            "output": OUTPUT,
        },
    ),
    (
        "step_completed",
        {**NODE, "started_at": BEGIN, "completed_at": END, "duration_ms": 7},
        "step:completed",
        {
            **NODE,
            "status": "success",
            "started_at": BEGIN,
            "completed_at": END,
            "duration_ms": 7,
            "output": {},
        },
    ),
    (
        "step_failed",
        {**NODE, "started_at": BEGIN, "completed_at": END, "position": 2, "error": "Não enviado"},
        "step:failed",
        {
            **NODE,
            "status": "error",
            "started_at": BEGIN,
            "completed_at": END,
            "duration_ms": 5000,
            "position": 2,
            "error": "Não enviado",
        },
    ),
    (
        "execution_completed",
        {"started_at": BEGIN, "completed_at": END, "generated_document_id": "doc-1"},
        "execution:completed",
        {
            "execution_id": "run-1",
            "status": "completed",
            "completed_at": END,
            "execution_time_ms": 5000,
            "generated_document_id": "doc-1",
        },
    ),
    (
        "execution_completed",
        {"completed_at": END, "execution_time_ms": 60000},
        "execution:completed",
        {
            "execution_id": "run-1",
            "status": "completed",
            "completed_at": END,
            "execution_time_ms": 60000,
            "generated_document_id": None,
        },
    ),
    (
        "execution_completed",
        {"completed_at": END},
        "execution:completed",
        {
            "execution_id": "run-1",
            "status": "completed",
            "completed_at": END,
            "execution_time_ms": None,
            "generated_document_id": None,
        },
    ),
    (
        "execution_failed",
        {"error_message": "Template not found", "completed_at": END, "started_at": BEGIN},
        "execution:failed",
        {
            "execution_id": "run-1",
            "status": "failed",
            "completed_at": END,
            "execution_time_ms": 5000,
            "error_message": "Template not found",
        },
    ),
    (
        "execution_canceled",
        {"completed_at": END, "reason": "by hand"},
        "execution:canceled",
        {
            "execution_id": "run-1",
            "status": "canceled",
            "completed_at": END,
            "reason": "by hand",
        },
    ),
    (
        "execution_canceled",
        {"completed_at": END},
        "execution:canceled",
        {"execution_id": "run-1", "status": "canceled", "completed_at": END},
    ),
    (
        "execution_paused",
        {"reason": "approval", "waiting_for": {"role": "manager"}},
        "execution:paused",
        {"execution_id": "run-1", "reason": "approval", "waiting_for": {"role": "manager"}},
    ),
    (
        "execution_paused",
        {"reason": "signature"},
        "execution:paused",
        {"execution_id": "run-1", "reason": "signature", "waiting_for": {}},
    ),
]

# What the document shows in the data of each event.
DOCUMENTED = {
    "step:started": {"node_id", "node_type", "status", "started_at"},
    "step:completed": {"node_id", "node_type", "status", "started_at", "completed_at", "output"},
    "step:failed": {"node_id", "node_type", "status", "started_at", "completed_at", "error"},
    "execution:completed": {
        "execution_id",
        "status",
        "execution_time_ms",
        "generated_document_id",
    },
    "execution:failed": {"execution_id", "status", "error_message"},
    "execution:paused": {"execution_id", "reason"},
}


@pytest.mark.parametrize(("method", "given", "event_type", "data"), EVENTS)
async def test_each_method_publishes_the_documented_payload(
    publisher: Either,
    redis: Redis,
    method: str,
    given: dict[str, Any],
    event_type: str,
    data: dict[str, Any],
) -> None:
    """Each event is what the document shows, and it says when it happened."""
    await getattr(publisher, method)("run-1", **given, timestamp="2024-01-15T10:30:06Z")
    [(_, payload)] = await kept(redis)
    assert orjson.loads(payload) == {
        "type": event_type,
        "data": data,
        "timestamp": "2024-01-15T10:30:06.000Z",
    }
    assert DOCUMENTED.get(event_type, set()) <= data.keys()


def test_the_table_has_every_event() -> None:
    """The table above leaves no event of the document out."""
    assert DOCUMENTED.keys() <= {event_type for _, _, event_type, _ in EVENTS}


async def test_a_time_is_now_by_default(publisher: Either, redis: Redis) -> None:
    """A time that is not given is now, in UTC with Z and milliseconds."""
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    await publisher.step_started("run-1", **NODE)
    await publisher.step_completed("run-1", **NODE, started_at=before)
    events = [orjson.loads(payload) for _, payload in await kept(redis)]
    stamps = [events[0]["data"]["started_at"], events[1]["data"]["completed_at"]]
    for text in [*stamps, *(event["timestamp"] for event in events)]:
        assert len(text) == len(BEGIN)
        assert text.endswith("Z")
        assert before <= datetime.fromisoformat(text) <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (datetime(2024, 1, 15, 10, 30, 0, 123456), "2024-01-15T10:30:00.123Z"),
        (datetime(2024, 1, 15, 10, 30, tzinfo=UTC), "2024-01-15T10:30:00.000Z"),
        (
            datetime(2024, 1, 15, 10, 30, tzinfo=timezone(timedelta(hours=-3))),
            "2024-01-15T13:30:00.000Z",
        ),
        ("2024-01-15T10:30:00.123456", "2024-01-15T10:30:00.123Z"),
        ("2024-01-15T10:30:00-03:00", "2024-01-15T13:30:00.000Z"),
        ("2024-01-15T10:30:00Z", "2024-01-15T10:30:00.000Z"),
    ],
)
def test_times_are_utc_with_milliseconds(given: datetime | str, text: str) -> None:
    """Times are written in UTC with Z and milliseconds; one without a zone is UTC already."""
    assert stamp(instant(given)) == text


@pytest.mark.parametrize(
    "given", ["soon", "", 1705314600, datetime.max.replace(tzinfo=timezone(timedelta(hours=-3)))]
)
def test_a_value_that_is_no_time_is_refused(given: Any) -> None:
    """What is no time is refused with an example of one."""
    with pytest.raises(EventRefused, match="is not a time: give a datetime, or text like"):
        instant(given)


@pytest.mark.parametrize(
    ("begin", "end", "expected"),
    [
        ("2025-12-23T10:30:00.123456", "2025-12-23T10:30:05.300001", 5176),
        ("2024-01-15T10:30:00-03:00", "2024-01-15T13:30:01", 1000),
        (END, BEGIN, 0),
    ],
)
def test_durations_are_whole_milliseconds(begin: str, end: str, expected: int) -> None:
    """Durations are whole milliseconds, across zones, and never negative."""
    assert milliseconds(instant(begin), instant(end)) == expected


async def test_values_in_data(publisher: Either, redis: Redis) -> None:
    """Times in the data become UTC text as elsewhere, UUIDs their text, and null stays null."""
    when = datetime(2024, 1, 15, 7, 30, tzinfo=timezone(timedelta(hours=-3)))
    data = {"at": when, "id": UUID(int=1), "none": [None, 1.5]}
    await publisher.publish("run-1", "invoice:sent", data)
    [(_, payload)] = await kept(redis)
    assert orjson.loads(payload)["data"] == {
        "at": BEGIN,
        "id": str(UUID(int=1)),
        "none": [None, 1.5],
    }
