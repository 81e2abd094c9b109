"""A run in pages: `limit`, and `after` as the cursor of the next one."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.http.run_cache import UNPAUSED_BYTES, Turns
from tests.conftest import credentials
from tests.harness.history import flush
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


async def test_new_epoch_between_pages(client: Client, redis: Redis, producer: Producer) -> None:
    """When a new history begins between two pages, the next page is the first of the new one."""
    await producer.steps(["n1", "n2"])
    old = await poll(client, include_logs="true", limit="2")
    await flush(redis)
    new = await producer.steps(["n3"])
    after = old["last_event_id"]
    document = await poll(client, include_logs="true", limit="1", after=after)
    assert [event["id"] for event in document["events"]] == new[:1]
    assert document["more"] is True


async def test_folding_pauses() -> None:
    """However many documents are folded at once, everything else gets a turn of the event loop
    after each 128 KiB of all of them together, or one event more."""
    turns, now = Turns(), 0
    folded: Counter[int] = Counter()

    async def count_turns() -> None:
        nonlocal now
        while True:
            now += 1
            await asyncio.sleep(0)

    async def fold() -> None:
        async for part in turns.paced(iter([b"x" * 30_000] * 20)):
            folded[now] += len(part)

    counting = asyncio.create_task(count_turns())
    await asyncio.gather(*(fold() for _ in range(4)))
    counting.cancel()
    assert sum(folded.values()) == 4 * 20 * 30_000
    assert max(folded.values()) < UNPAUSED_BYTES + 30_000
