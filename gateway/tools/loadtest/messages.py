"""The events of a load test: made here, published, and recognized here again in a tab.

Each looks like what today's workers publish and carries in `data` its execution, its number within
it (from 1, without holes) and the moment it was published. It does no I/O.
"""

from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

import orjson

from gateway.events.sse_parser import Frame

_TERMINAL_TYPE = "execution:completed"


class Sighting(NamedTuple):
    """One of our events as it reached a tab. `published_ns` is of the monotonic clock."""

    execution_id: str
    n: int
    published_ns: int


def compose(execution_id: str, n: int, last: int, published_ns: int) -> bytes:
    """Event *n* of *last*; the last one ends the execution."""
    now = datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    data: dict[str, object] = {"execution_id": execution_id, "n": n, "published_ns": published_ns}
    if n == last:
        event_type = _TERMINAL_TYPE
        data |= {"status": "completed", "completed_at": now, "execution_time_ms": n}
    else:
        event_type = "step:completed" if n % 2 == 0 else "step:started"
        position = (n + 1) // 2
        data |= {
            "node_id": f"{execution_id}-node-{position}",
            "node_type": "load-test",
            "position": position,
            "started_at": now,
        }
    return orjson.dumps({"type": event_type, "data": data, "timestamp": now})


# As with frames: one event reaches many tabs.
@lru_cache(maxsize=1024)
def recognize(frame: Frame) -> Sighting | None:
    """What `compose` put in, or None for an event that is not of a load test or was garbled."""
    try:
        document = orjson.loads(frame.data)
        data = document["data"]
        sighting = Sighting(data["execution_id"], data["n"], data["published_ns"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    well_formed = (
        document.get("type") == frame.event
        and isinstance(sighting.execution_id, str)
        and isinstance(sighting.n, int)
        and isinstance(sighting.published_ns, int)
    )
    return sighting if well_formed else None
