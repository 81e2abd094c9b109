"""How many watch an execution, wherever their streams are open."""

import re
from collections.abc import Iterable

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from gateway.bus.registry import register
from gateway.bus.watching import Watching, watching_key
from gateway.components import Components
from tests.conftest import RunningGateway, StartGateway
from tests.fanout.support import attached, make_hub
from tests.harness.gateway_process import run
from tests.harness.history import append
from tests.harness.principals import principal
from tests.lists.support import ListClient
from tests.sets.support import open_set
from tests.support import eventually


def counts_key(components: Components) -> str:
    return watching_key(components.canary.instance)


async def know_each_other(gateways: Iterable[RunningGateway]) -> None:
    """They look for each other every five seconds, and twice before they believe it."""
    components = [one.components for one in gateways]

    async def known() -> bool:
        for one in components:
            one.questions.ask_soon("presence")
            one.questions.send_now()
        names = {one.canary.instance for one in components}
        return all(names <= {one.canary.instance, *one.presence.running} for one in components)

    await eventually(known)


@pytest.mark.parametrize("subscription", ["pattern", "execution"])
async def test_a_list_and_status_count_the_streams_of_all_gateways(
    start_gateway: StartGateway, redis: Redis, redis_url: str
) -> None:
    """Those of one execution and those of a set; what a list follows counts as no stream."""
    first, second = [await start_gateway() for _ in range(2)]
    for one in ("run-1", "run-2"):
        await register(redis, one, "acme")
    await append(redis, "run-1", "step:started")
    await know_each_other([first, second])
    tab = await ListClient(second).stream()
    await first.open("run-1")
    await second.open("run-1")
    left = second.responses[-1]
    await open_set(first, ["run-1", "run-2"])
    await tab.until(lambda shown: watching(shown) == {"run-1": 3, "run-2": 1})
    assert await status_becomes("3 streams at 2 gateways", redis_url)
    left.close()
    await tab.until(lambda shown: watching(shown) == {"run-1": 2, "run-2": 1})
    assert await status_becomes("2 streams at 1 gateway", redis_url)
    first.close_streams()
    await tab.until(lambda shown: watching(shown) == {"run-1": 0, "run-2": 0})


async def test_nobody_watches(start_gateway: StartGateway, redis: Redis, redis_url: str) -> None:
    """And what somebody else has written there is no number of streams."""
    gateway = await start_gateway()
    await register(redis, "run-1", "acme")
    await know_each_other([gateway])
    assert await watched_by(redis_url) == "no stream"
    await redis.hset(counts_key(gateway.components), "run-1", "many")
    assert await watched_by(redis_url) == "no stream"


async def test_a_gateway_that_was_killed_is_not_counted_for_long(
    start_gateway: StartGateway, redis: Redis
) -> None:
    gateway = await start_gateway()
    await register(redis, "run-1", "acme")
    await gateway.open("run-1")
    key = counts_key(gateway.components)
    await eventually(lambda: redis.exists(key))
    assert 0 < await redis.pttl(key) <= 30_000


async def test_counts_that_redis_has_lost_are_written_again(
    start_gateway: StartGateway, redis: Redis
) -> None:
    gateway = await start_gateway()
    for one in ("run-1", "run-2"):
        await register(redis, one, "acme")
        await gateway.open(one)
    key = counts_key(gateway.components)

    async def written() -> bool:
        return await redis.hgetall(key) == {b"run-1": b"1", b"run-2": b"1"}

    await eventually(written)
    await redis.delete(key)
    # It is looked at every five seconds.
    await eventually(written)


async def test_a_key_of_another_kind_costs_the_counts_alone(
    start_gateway: StartGateway, redis: Redis
) -> None:
    """And they are right again once it is gone."""
    gateway = await start_gateway()
    await register(redis, "run-1", "acme")
    key = counts_key(gateway.components)
    await redis.set(key, "another's")
    await gateway.open("run-1")
    assert await gateway.healthy()
    await redis.delete(key)

    async def written() -> bool:
        return await redis.hgetall(key) == {b"run-1": b"1"}

    await eventually(written)


async def test_all_counts_are_written_at_once_and_those_that_redis_refuses_are_not_kept() -> None:
    """A gateway at which a thousand executions a second are opened keeps no list of old ones; after
    a refusal only those that are watched now are written."""
    hub, _ = make_hub()
    counts = Watching("here", hub, others=tuple, shown=tuple)
    names = [f"run-{number}" for number in range(1200)]
    for one in names:
        hub.on_watching(one)
    asked = counts.questions()
    written = [word for one in asked for word in one.command[2:] if one.command[0] == "HDEL"]
    assert sorted(map(str, written)) == sorted(names)
    assert all(len(one.command) <= 502 for one in asked)
    for question in asked:
        question.answered(ResponseError("OOM"))
    stream = attached(hub, principal("run-now"))
    again = [one.command for one in counts.questions()]
    assert ("HSET", watching_key("here"), "run-now", 1) in again
    assert not any("run-0" in command for command in again)
    stream.leave()


def watching(shown: dict[str, dict[str, object]]) -> dict[str, object]:
    return {name: one["watching"] for name, one in shown.items()}


async def watched_by(redis_url: str) -> str:
    """What `sse-gateway status` prints of run-1."""
    _, out, _ = await run("status", "run-1", REDIS_URL=redis_url)
    [found] = re.findall(r"Watched by +(.*?) *$", out, re.MULTILINE)
    return str(found)


async def status_becomes(expected: str, redis_url: str) -> bool:
    async def shown() -> bool:
        return await watched_by(redis_url) == expected

    return bool(await eventually(shown))
