"""Lists are right again after whatever was missed, lost or changed behind their back."""

import asyncio
from typing import Any

from redis.asyncio import Redis

from gateway.bus.registry import register
from gateway.contract.keys import events_key, list_about_key, list_order_key, meta_key
from gateway.publisher import Publisher
from tests.conftest import StartGateway
from tests.lists.support import ListClient, ListTab, play
from tests.support import eventually


def without_watching(shown: dict[str, Any]) -> dict[str, Any]:
    return {name: {**one, "watching": 0} for name, one in shown.items()}


async def test_two_gateways_show_the_same(
    start_gateway: StartGateway, redis: Redis, redis_url: str
) -> None:
    """After silence: each heard all events, one of them not the registration, and one of them lost
    its subscription for a while."""
    clients = [ListClient(await start_gateway()) for _ in range(2)]
    tabs = [await client.stream() for client in clients]
    readers = [asyncio.create_task(_read(tab)) for tab in tabs]
    async with Publisher(redis_url) as publisher:
        await asyncio.gather(*(play(publisher, f"run-{n}", ends=n % 2 == 0) for n in range(10)))
        await redis.client_kill_filter(_type="pubsub")
        await asyncio.gather(*(play(publisher, f"more-{n}", ends=n % 2 == 0) for n in range(10)))

        async def agree() -> bool:
            first, second = (without_watching(tab.shown) for tab in tabs)
            page = await clients[0].page()
            third = without_watching({one["execution_id"]: one for one in page["executions"]})
            ended = [one for one in first.values() if one["status"] == "failed"]
            return first == second == third and (len(first), len(ended)) == (20, 10)

        await eventually(agree)
    assert {one["steps_completed"] for one in tabs[0].shown.values()} == {1}
    for reader in readers:
        reader.cancel()


async def _read(tab: ListTab) -> None:
    while True:
        await tab.read()


async def test_a_run_that_begins_again_is_shown_again(
    start_gateway: StartGateway, redis: Redis, redis_url: str
) -> None:
    """It has ended in an open list, and runs again with counts of its own."""
    client = ListClient(await start_gateway())
    async with Publisher(redis_url) as publisher:
        await play(publisher, "run-1")
        tab = await client.stream(status="running,failed")
        await tab.until(lambda shown: "run-1" in shown)
        assert tab.shown["run-1"]["status"] == "failed"
        await publisher.restart("run-1")
        await publisher.publish("run-1", "step:started", {"node_id": "again"})
        await tab.until(lambda shown: shown["run-1"]["current_node"] == "again")
    again = tab.shown["run-1"]
    assert (again["status"], again["steps_completed"], again["error_message"]) == (
        "running",
        0,
        None,
    )


async def test_counts_outlive_the_events_that_they_are_of(
    start_gateway: StartGateway, redis: Redis, redis_url: str
) -> None:
    """Of a history that was trimmed, or is too long to be read from its beginning: what the scripts
    have counted, and what comes after that."""
    client = ListClient(await start_gateway())
    async with Publisher(redis_url) as publisher:
        await publisher.register("run-1", "acme")
        for number in range(400):
            node = {"node_id": f"n{number}", "output": "x" * 1500}
            await publisher.publish("run-1", "step:started", {"node_id": f"n{number}"})
            await publisher.publish("run-1", "step:completed", node)
        await publisher.publish("run-1", "step:failed", {"node_id": "bad"})
        [shown] = (await client.page())["executions"]
        assert (shown["steps_completed"], shown["steps_failed"]) == (400, 1)
        assert shown["started_at"] is not None
        tab = await client.stream()
        await publisher.publish("run-1", "step:completed", {"node_id": "last"})
        await publisher.publish("run-1", "execution:completed", {})
        await tab.until(lambda shown: shown and shown["run-1"]["status"] == "completed")
    assert tab.shown["run-1"]["steps_completed"] == 401
    assert tab.shown["run-1"]["duration_ms"] is not None


async def test_a_run_of_many_steps_is_in_a_list_what_its_document_says(
    start_gateway: StartGateway, redis: Redis, redis_url: str
) -> None:
    """Of more steps than a list remembers: whether it runs, waits or has ended, and how."""
    client = ListClient(await start_gateway())

    async def shows(status: str, steps: int) -> dict[str, Any]:
        async def shown() -> dict[str, Any] | None:
            [one] = (await client.page())["executions"]
            return one if (one["status"], one["steps_completed"]) == (status, steps) else None

        found: dict[str, Any] = await eventually(shown)
        return found

    end = {"execution_time_ms": 7, "error_message": "it broke"}
    async with Publisher(redis_url) as publisher:
        await publisher.register("run-1", "acme")
        for number in range(100):
            await publisher.publish("run-1", "step:completed", {"node_id": f"n{number}"})
        await shows("running", 100)
        await publisher.publish("run-1", "execution:paused", {"reason": "approval"})
        await shows("paused", 100)
        await publisher.publish("run-1", "execution:failed", end)
        shown = await shows("failed", 100)
    assert (shown["duration_ms"], shown["error_message"]) == (7, "it broke")
    assert shown["completed_at"] is not None


async def test_counts_go_on_through_a_failover_of_a_trimmed_history(
    start_gateway: StartGateway, redis: Redis, redis_url: str
) -> None:
    """What is kept of the former epoch is counted already."""
    client = ListClient(await start_gateway())
    async with Publisher(redis_url) as publisher:
        await play(publisher, "run-1", ends=False)
        await publisher.publish("run-1", "step:completed", {"node_id": "b"})
        await redis.xtrim(events_key("run-1"), 2, approximate=False)
        # By this the scripts see that another server has taken over.
        await redis.hset(meta_key("run-1"), "replid", "f" * 40)
        await publisher.publish("run-1", "execution:completed", {})
    [shown] = (await client.page())["executions"]
    assert (shown["status"], shown["steps_completed"]) == ("completed", 2)


async def test_counts_are_of_the_whole_run_where_its_former_epochs_are_trimmed(
    start_gateway: StartGateway, redis: Redis, redis_url: str
) -> None:
    """History begins with the first event of its epoch: no id shows that others came before. Also
    in a list that was open meanwhile, and starts over with what is kept."""
    client = ListClient(await start_gateway())
    async with Publisher(redis_url) as publisher:
        await play(publisher, "run-1", ends=False)
        tab = await client.stream()
        await tab.until(lambda shown: shown and shown["run-1"]["steps_completed"] == 1)
        began = tab.shown["run-1"]["started_at"]
        # By this the scripts see that another server has taken over.
        await redis.hset(meta_key("run-1"), "replid", "f" * 40)
        async with Publisher(redis_url, channel_prefix="unheard:") as unheard:
            await unheard.publish("run-1", "step:completed", {"node_id": "b"})
        await redis.xtrim(events_key("run-1"), 1, approximate=False)
        await publisher.publish("run-1", "step:started", {"node_id": "c"})
        await tab.until(lambda shown: shown["run-1"]["current_node"] == "c")
    [shown] = (await ListClient(await start_gateway()).page())["executions"]
    for one in (shown, tab.shown["run-1"]):
        assert (one["status"], one["steps_completed"], one["started_at"]) == ("running", 2, began)


async def test_counts_are_right_after_events_that_nobody_has_any_more(
    start_gateway: StartGateway, redis: Redis, redis_url: str
) -> None:
    """An open list was to show them, could not hear them, and they were trimmed before it read
    history; the execution has ended meanwhile."""
    client = ListClient(await start_gateway())
    async with Publisher(redis_url) as publisher:
        await play(publisher, "run-1", ends=False)
        tab = await client.stream()
        await tab.until(lambda shown: shown and shown["run-1"]["steps_completed"] == 1)
        async with Publisher(redis_url, channel_prefix="unheard:") as unheard:
            await unheard.publish("run-1", "step:completed", {"node_id": "b"})
            await unheard.publish("run-1", "step:started", {"node_id": "c"})
        await redis.xtrim(events_key("run-1"), 1, approximate=False)
        await publisher.publish("run-1", "execution:completed", {})
    await tab.until(lambda shown: shown["run-1"]["status"] == "completed")
    await tab.until(lambda shown: shown["run-1"]["steps_completed"] == 2)


async def test_what_ended_while_nobody_listened_is_found(
    start_gateway: StartGateway, redis: Redis, redis_url: str
) -> None:
    """The index takes it for running; the first list that is asked for shows how it ended, and
    corrects the index."""
    first = await start_gateway()
    client = ListClient(first)
    async with Publisher(redis_url) as publisher:
        await play(publisher, "run-1", ends=False)
        await eventually(lambda: client.ids(status="running"))
        await first.server.stop()
        await publisher.publish("run-1", "execution:completed", {})
    other = ListClient(await start_gateway())
    assert await other.ids(status="completed") == ["run-1"]
    assert await other.ids(status="running") == []

    async def is_corrected() -> bool:
        about = await redis.hget(list_about_key("acme"), "run-1")
        return about is not None and b" completed " in about

    await eventually(is_corrected)


async def test_after_a_lost_subscription_a_list_of_one_status_is_right(
    start_gateway: StartGateway, redis: Redis, redis_url: str
) -> None:
    """No gateway has heard that runs have begun, ended, begun again and paused. The list did not
    show them; it corrects the index."""
    client = ListClient(await start_gateway())

    async def listed() -> dict[str, str]:
        about: Any = await redis.hgetall(list_about_key("acme"))
        return {
            one.decode(): text.decode().split(" ")[1]
            for one, text in about.items()
            if one[:1] != b"!"
        }

    async def is_listed(**statuses: str) -> bool:
        return await listed() == statuses

    async with Publisher(redis_url) as publisher:
        await publisher.register("begins", "acme")
        for name in ("ends", "again", "pauses"):
            await play(publisher, name, ends=False)
        await publisher.publish("again", "execution:completed", {})
    before = {"begins": "pending", "ends": "running", "again": "completed", "pauses": "running"}
    await eventually(lambda: is_listed(**before))
    # What its last event was is noted up to seconds later.
    await redis.zincrby(list_order_key("acme"), -10_000, "pauses")
    tab = await client.stream(status="failed")
    async with Publisher(redis_url, channel_prefix="unheard:") as publisher:
        await publisher.publish("begins", "execution:started", {})
        await publisher.publish("ends", "execution:failed", {})
        await publisher.restart("again")
        await publisher.publish("again", "execution:started", {})
        await publisher.publish("pauses", "execution:paused", {})
    await redis.client_kill_filter(_type="pubsub")
    await tab.until(lambda shown: list(shown) == ["ends"])
    after = {"begins": "running", "ends": "failed", "again": "running", "pauses": "paused"}
    await eventually(lambda: is_listed(**after))


async def test_data_that_redis_has_lost_is_not_listed(
    start_gateway: StartGateway, redis: Redis
) -> None:
    client = ListClient(await start_gateway())
    await register(redis, "run-1", "acme")
    tab = await client.stream()
    await tab.until(lambda shown: "run-1" in shown)
    await redis.flushall()
    await register(redis, "run-2", "acme")
    await tab.until(lambda shown: list(shown) == ["run-2"])
