"""The run document over HTTP says what happened, and that it is a part where it is one."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from gateway.app import create_application
from gateway.contract.keys import events_key
from gateway.contract.scripts import HistoryLimits
from gateway.events.fields import stamp
from tests.conftest import MakeSettings, credentials
from tests.events.folding import RUNS, part, terminal_types_of
from tests.http.conftest import Client, path, poll
from tests.http.histories import Producer

BEGIN = datetime(2026, 1, 5, 10, tzinfo=UTC)


@pytest.mark.parametrize("has_pairs", [False, True])
async def test_every_run_is_as_it_should_be(
    aiohttp_client: Callable[[Any], Awaitable[Client]],
    make_settings: MakeSettings,
    redis: Redis,
    has_pairs: bool,
) -> None:
    """What each run's vector expects of its document is there, with logs and without."""
    given = [(run, terminal_types_of(run)) for run in RUNS if not run.get("own_ids")]
    runs = [(run, own) for run, own in given if ("=" in "".join(own)) == has_pairs]
    types = ",".join(dict.fromkeys(one for _, own in runs for one in own))
    settings = make_settings(ownership="token", terminal_types=types)
    client = await aiohttp_client(create_application(settings))
    for number, (run, own) in enumerate(runs):
        ends = [one.partition("=")[0] for one in own]
        producer = Producer(redis, f"run-{number}", terminal_types=ends)
        for event in run["events"]:
            kept = {name: value for name, value in event.items() if name != "id"}
            await producer.publish_raw(event["type"], orjson.dumps(kept))
        # In the vectors some ids begin at one.
        expect = {name: one for name, one in run["expect"].items() if not name.endswith("_from")}
        for query in ({"include_logs": "true"}, {}):
            url = path(f"run-{number}")
            async with client.get(url, params=query, headers=credentials()) as response:
                document = await response.json()
            expected = {name: one for name, one in expect.items() if query or name in document}
            assert part(document, expected) == expected, run["name"]


async def long_run(redis: Redis, *, steps: int, kept: int, **limits: int) -> list[str]:
    """A run of so many steps of one second each, whose history keeps about so many events."""
    producer = Producer(redis, limits=HistoryLimits(max_events=kept, **limits))
    events: list[dict[str, Any]] = []
    for number in range(steps):
        begin = stamp(BEGIN + timedelta(seconds=number))
        end = stamp(BEGIN + timedelta(seconds=number + 1))
        step = {"node_id": f"n{number}", "started_at": begin}
        events += [
            {"type": "step:started", "data": step, "timestamp": begin},
            {"type": "step:completed", "data": step, "timestamp": end},
        ]
    events.append({"type": "execution:completed", "data": {}, "timestamp": end})
    return [await producer.publish_raw(event["type"], orjson.dumps(event)) for event in events]


async def test_long_run_says_that_it_is_a_part(client: Client, redis: Redis) -> None:
    """Of a run that is longer than its history, begin and end are those of the whole run, the
    counts are those of the part, and the document says how much is missing and since when it is
    complete; the step events of the whole run have a name of their own."""
    ids = await long_run(redis, steps=300, kept=100)
    length = await redis.xlen(events_key("run-1"))
    assert length < len(ids)
    document = await poll(client, include_logs="true")
    events, logs = document["events"], document["execution_logs"]
    assert len(events) == length
    assert document["status"] == "completed"
    assert document["started_at"] == stamp(BEGIN)
    assert document["duration_ms"] == 300_000
    assert document["complete"] is False
    assert document["events_missing"] == len(ids) - length
    assert document["execution_logs_from"] == events[0]["id"]
    assert document["steps_completed"] == sum(step["status"] == "success" for step in logs)
    assert document["step_events_total"] == {"started": 300, "completed": 300, "failed": 0}


async def test_run_whose_history_has_expired(client: Client, redis: Redis) -> None:
    """Of a run whose history has expired, begin, end and status are still known, and nothing else
    is said of it."""
    ids = await long_run(redis, steps=2, kept=100)
    whole = await poll(client)
    assert (whole["complete"], whole["events_missing"]) == (True, 0)
    await redis.delete(events_key("run-1"))
    document = await poll(client, include_logs="true")
    assert document["status"] == "completed"
    assert (document["started_at"], document["duration_ms"]) == (stamp(BEGIN), 2000)
    assert (document["complete"], document["events_missing"]) == (False, len(ids))
    assert (document["execution_logs"], document["steps_completed"]) == ([], 0)
    assert document["step_events_total"] == {"started": 2, "completed": 2, "failed": 0}
