"""A page of the executions of an organization."""

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from redis.asyncio import Redis

from gateway.bus import scripts
from gateway.bus.registry import register
from gateway.contract.registration import Registration
from gateway.contract.scripts import HistoryLimits
from gateway.publisher import Publisher
from tests.conftest import StartGateway
from tests.harness.history import append
from tests.lists.support import ListClient, listed, play
from tests.support import eventually


async def test_a_page_shows_what_has_become_of_each_run(
    start_gateway: StartGateway, redis: Redis, redis_url: str
) -> None:
    """Newest activity first, with the values of the run document; another organization's are not
    among them."""
    client = ListClient(await start_gateway())
    async with Publisher(redis_url) as publisher:
        await register(redis, "run-0", "acme", "other flow")
        await play(publisher, "run-1")
        await listed(client, "run-1", "run-0")
        await play(publisher, "run-2", ends=False)
        await play(publisher, "run-3", "globex")
    await listed(client, "run-2", "run-1", "run-0")
    running, failed, pending = (await client.page())["executions"]
    assert (failed["status"], failed["error_message"]) == ("failed", "it broke")
    assert (failed["steps_completed"], failed["steps_failed"]) == (1, 1)
    assert failed["completed_at"] is not None
    assert (running["status"], running["current_node"]) == ("running", "b")
    assert running["workflow_id"] == "flow"
    assert (pending["status"], pending["last_event_id"]) == ("pending", None)
    assert await client.ids(status="failed,pending") == ["run-1", "run-0"]
    assert await client.ids(workflow_id="other flow") == ["run-0"]


async def test_pages_follow_one_another(start_gateway: StartGateway, redis: Redis) -> None:
    client = ListClient(await start_gateway())
    for number in range(5):
        await register(redis, f"run-{number}", "acme")
    whole = await client.ids()
    assert sorted(whole) == [f"run-{number}" for number in range(5)]
    found: list[str] = []
    query = {"limit": "2"}
    while True:
        page = await client.page(**query)
        found += [one["execution_id"] for one in page["executions"]]
        if page["next"] is None:
            break
        query["before"] = page["next"]
    assert found == whole


async def test_what_scripts_alone_have_registered_is_listed_from_its_first_event(
    start_gateway: StartGateway, redis: Redis
) -> None:
    """A producer in another language need not write the index."""
    client = ListClient(await start_gateway())
    await scripts.run(redis, Registration("run-1", "acme", "flow").call(HistoryLimits()))
    assert await client.ids() == []
    await append(redis, "run-1", "execution:started")
    await listed(client, "run-1")


async def test_a_page_that_has_not_changed_is_304(
    start_gateway: StartGateway, redis: Redis, redis_url: str
) -> None:
    """Its tag is that of the filter and of what has become of the runs; HEAD gets the same headers
    without a body, and any other method a 405 that says so."""
    gateway = await start_gateway()
    client = ListClient(gateway)

    async def ask(method: str = "GET", tag: str = "", **query: str) -> tuple[int, Any, bytes]:
        headers = {**client.headers, **({"If-None-Match": tag} if tag else {})}
        async with gateway.session.request(
            method, client.url, params=query, headers=headers
        ) as answer:
            return answer.status, answer.headers, await answer.read()

    await register(redis, "run-1", "acme", "flow")
    await listed(client, "run-1")
    status, whole, body = await ask()
    tag = whole["ETag"]
    assert (status, tag[:3], whole["Cache-Control"]) == (200, 'W/"', "private, no-cache")
    for known in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
        for method in ("GET", "HEAD"):
            status, headers, nothing = await ask(method, known)
            assert (status, headers["ETag"], nothing) == (304, tag, b"")
            assert headers["Cache-Control"] == "private, no-cache"
    status, headers, nothing = await ask("HEAD")
    assert (status, headers["ETag"], nothing) == (200, tag, b"")
    assert headers["Content-Length"] == str(len(body))
    assert (await ask(tag=tag, status="failed"))[0] == 200
    async with Publisher(redis_url) as publisher:
        await publisher.publish("run-1", "execution:started", {})
    await eventually(lambda: _is_another(ask, tag))
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        status, headers, document = await ask(method)
        assert (status, headers["Allow"]) == (405, "GET,HEAD")
        assert orjson.loads(document)["error"] == "method_not_allowed"


async def _is_another(ask: Callable[..., Awaitable[Any]], tag: str) -> bool:
    status, headers, _ = await ask(tag=tag)
    return bool(status == 200 and headers["ETag"] != tag)
