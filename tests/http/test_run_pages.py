"""A run in pages: `limit`, and `after` as the cursor of the next one."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from gateway.bus.history import Entry, Page
from gateway.events.ids import EventId
from gateway.http.run_reading import STRETCH_BYTES, Asked, Reading, stretches
from gateway.metrics import Metrics
from tests.conftest import credentials
from tests.http.conftest import Client, path, poll
from tests.http.histories import Producer
from tests.http.test_polling import tag_of


async def pages(client: Client, limit: int) -> list[Any]:
    """All pages of `run-1`, each after the last event of the one before."""
    got = [await poll(client, include_logs="true", limit=str(limit))]
    while got[-1]["more"]:
        after = got[-1]["events"][-1]["id"]
        got.append(await poll(client, include_logs="true", limit=str(limit), after=after))
    return got


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
async def test_pages_make_the_whole(client: Client, producer: Producer, limit: int) -> None:
    """The pages hold every event once and in order, and every step once, with its latest event."""
    await producer.publish("step:started", node_id="slow")
    await producer.steps(["n1", "n2"])
    await producer.publish("step:completed", node_id="slow", output="late")
    await producer.publish("step:started", node_id="open")
    await producer.publish("execution:completed")
    await producer.publish("step:completed", node_id="open")
    whole = await poll(client, include_logs="true")
    got = await pages(client, limit)
    assert all(len(one["events"]) <= limit for one in got)
    assert [event for one in got for event in one["events"]] == whole["events"]
    steps = [step for one in got for step in one["execution_logs"]]
    by_node = {step["node_id"]: step for step in steps}
    assert len(by_node) == len(steps)
    assert by_node == {step["node_id"]: step for step in whole["execution_logs"]}
    for one in got:
        assert one["status"] == "completed"
        assert one["last_event_id"] == one["events"][-1]["id"]
    assert "more" not in whole


async def test_large_events(client: Client, producer: Producer) -> None:
    """A page ends early where its events are large, and holds one at least."""
    for number in range(12):
        await producer.publish("step:completed", node_id=f"n{number}", output="x" * 900_000)
    got = await pages(client, 100)
    assert [len(one["events"]) for one in got] == [5, 5, 2]


async def test_nothing_after(client: Client, producer: Producer) -> None:
    """After the last event comes an empty page, and then nothing: 304, until something happens."""
    last = (await producer.steps(["n1"]))[-1]
    document = await poll(client, include_logs="true", limit="5", after=last)
    assert (document["events"], document["execution_logs"], document["more"]) == ([], [], False)
    assert document["last_event_id"] == last
    query = {"include_logs": "true", "limit": "5", "after": last}
    _, tag = await tag_of(client, **query)
    assert await tag_of(client, tag, **query) == (304, tag)
    assert (await tag_of(client, tag, **{**query, "limit": "6"}))[0] == 200
    await producer.publish("step:started", node_id="n2")
    assert (await tag_of(client, tag, **query))[0] == 200


@pytest.mark.parametrize("limit", ["0", "-1", "x", "", "1.5", "10001", "9" * 5000, "\u0663"])
async def test_malformed_limit(client: Client, limit: str) -> None:
    """What is no number of events is refused with what to do, after the credentials."""
    query = {"include_logs": "true", "limit": limit}
    async with client.get(path(), params=query, headers=credentials()) as response:
        assert response.status == 400
        assert (await response.json())["error"] == "malformed_limit"
    async with client.get(path(), params=query) as response:
        assert response.status == 401


async def test_another_life_between_pages(client: Client, redis: Redis, producer: Producer) -> None:
    """When the history begins anew between two pages, the next one is the first of the new."""
    await producer.steps(["n1", "n2"])
    old = await poll(client, include_logs="true", limit="2")
    await redis.flushall()
    new = await producer.steps(["n3"])
    after = old["last_event_id"]
    document = await poll(client, include_logs="true", limit="1", after=after)
    assert [event["id"] for event in document["events"]] == new[:1]
    assert document["more"] is True


sizes = st.lists(st.integers(20, 3 * STRETCH_BYTES), max_size=20)


@given(sizes, st.booleans(), st.sampled_from([None, 1, 3]))
def test_stretches(sizes: list[int], more: bool, limit: int | None) -> None:
    """A page folded in stretches gives what it gives at once, and no stretch is longer than its
    bound but for one event."""
    payloads = [b'{"type":"step:completed","x":"%b"}' % (b"x" * size) for size in sizes]
    entries = [Entry(EventId(1, seq), one) for seq, one in enumerate(payloads, 1)]
    page = Page("start", EventId(1, 1), None, "", False, more, None, entries)
    asked = Asked(True, None, limit)
    at_once, in_stretches = (Reading("e", asked, Metrics()) for _ in range(2))
    follows = at_once.add(page)
    last = False
    for stretch in stretches(page):
        assert (
            len(stretch.entries) == 1
            or sum(len(one.payload) for one in stretch.entries) <= STRETCH_BYTES
        )
        last = in_stretches.add(stretch)
    assert last == follows
    assert in_stretches.state == at_once.state
    assert orjson.dumps(in_stretches.document("w")) == orjson.dumps(at_once.document("w"))
