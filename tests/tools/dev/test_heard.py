"""Which runs the page of `sse-gateway dev` lists."""

import orjson

from gateway.errors import RedisUnavailable
from gateway.events.ending import STANDARD
from gateway.events.envelope import Envelope, decode
from gateway.tools.dev.heard import HeardRuns


async def nameless(_: str) -> str | None:
    """Redis does not say which workflow it is."""
    raise RedisUnavailable("away")


async def unread(_: str) -> dict[str, object]:
    """Nor can history be read."""
    raise RedisUnavailable("away")


def heard() -> HeardRuns:
    return HeardRuns(nameless, unread, STANDARD)


def event(event_type: str, event_id: str | None = None, **data: object) -> list[Envelope]:
    document = {"type": event_type, "data": data, "timestamp": "2026-01-01T00:00:00"}
    return [decode(orjson.dumps({**document, **({"id": event_id} if event_id else {})}), 10_000)]


async def test_newest_first() -> None:
    """The run that began last is first, and stays in its place whatever comes for another one; how
    a run is going, and how it has ended, is known."""
    runs = heard()
    for execution in ("one", "two", "one"):
        runs.note(execution, event("step:started", node_id="n1"))
    runs.note("one", event("execution:failed", error_message="no"))
    two, one = await runs.list(["two"])
    assert [two["id"], one["id"]] == ["two", "one"]
    assert [two["status"], one["status"]] == ["running", "failed"]
    assert [two["simulated"], one["simulated"]] == [True, False]
    assert one["error_message"] == "no"


async def test_restarted() -> None:
    """An execution that begins again is a new run, and the newest."""
    runs = heard()
    runs.note("one", event("execution:failed", "7-1"))
    runs.note("two", event("step:started", "8-1"))
    runs.note("one", event("step:started", "9-1", node_id="n1"))
    one, two = await runs.list()
    assert (one["id"], one["status"]) == ("one", "running")
    assert two["id"] == "two"


async def test_a_flood_of_ids_pushes_out_what_has_ended() -> None:
    """Of very many runs the last ones are kept, and what still runs stays longer than what has
    ended."""
    runs = heard()
    runs.note("demo", event("step:started"))
    for number in range(300):
        runs.note(f"run-{number}", event("execution:completed"))
    listed = [run["id"] for run in await runs.list()]
    assert len(listed) == 50
    assert listed[0] == "run-299"
    assert listed[-1] == "demo"
    for number in range(300):
        runs.note(f"more-{number}", event("step:started"))
    assert len(await runs.list()) == 50
