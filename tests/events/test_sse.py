"""The gateway's own frames: named, with data, without id."""

from datetime import UTC, datetime

import orjson
import pytest

from gateway.events import sse_encoder
from gateway.events.ids import EventId
from gateway.events.sse_encoder import CloseReason
from tests.harness.sse import parse_sse


def test_connected_names_execution_and_heartbeat() -> None:
    """A stream begins with `retry:` and `connected`, whose data names the execution first, how long
    silence may last, and, where there are any, the last event so far and how all ended."""
    [seen] = parse_sse(sse_encoder.connected("run-1", 1500, 15.0))
    assert (seen.event, seen.id, seen.retry) == ("connected", None, 1500)
    assert seen.data == '{"execution_id":"run-1","heartbeat_seconds":15.0}'
    [ended] = parse_sse(
        sse_encoder.connected("run-1", 1500, 0.5, EventId(1795000000000, 7), "failed")
    )
    assert orjson.loads(ended.data) == {
        "execution_id": "run-1",
        "heartbeat_seconds": 0.5,
        "last_event_id": "1795000000000-7",
        "status": "failed",
    }


def test_a_heartbeat_has_a_utc_time() -> None:
    """A heartbeat is a named event whose timestamp is UTC and ends in Z."""
    [seen] = parse_sse(sse_encoder.heartbeat(datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)))
    assert (seen.event, seen.id) == ("heartbeat", None)
    assert orjson.loads(seen.data) == {"timestamp": "2026-01-02T03:04:05.678Z"}


@pytest.mark.parametrize("reason", CloseReason)
def test_closing_has_reason_and_delay(reason: CloseReason) -> None:
    """`stream:closing` carries its reason and the same delay as its `retry:`."""
    [seen] = parse_sse(sse_encoder.closing(reason, 2222))
    assert (seen.event, seen.id, seen.retry) == ("stream:closing", None, 2222)
    assert orjson.loads(seen.data) == {"reason": reason.value, "retry_ms": 2222}


def test_expiring_has_end_and_seconds_left() -> None:
    """The warning has the moment of the end in UTC and the whole seconds until then, and no id."""
    end = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()
    [seen] = parse_sse(sse_encoder.expiring(end, end - 59.8))
    assert (seen.event, seen.id) == ("stream:expiring", None)
    expected = {"expires_at": "2026-01-02T03:04:05.000Z", "expires_in_seconds": 60}
    assert orjson.loads(seen.data) == expected
