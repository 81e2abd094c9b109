"""How a run ended is said in the same way everywhere, also with an engine's own terminal types."""

from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.bus.history import History
from gateway.contract.keys import events_key, meta_key
from gateway.publisher import Publisher
from tests.conftest import RunningGateway, StartGateway, credentials
from tests.harness.gateway_process import run
from tests.harness.sse import SseReader
from tests.support import eventually, producer_message


@pytest.fixture(params=["pattern", "execution"])
def subscription(request: pytest.FixtureRequest) -> str:
    """All of this holds in both ways to subscribe."""
    return str(request.param)


TYPES = "job:done, EXECUTION:FAILED, run.over=canceled, nothing"
ENDS: list[tuple[str, dict[str, Any], str, int]] = [
    ("job:done", {}, "completed", 0),
    ("job:done", {"error": {"code": 28}}, "failed", 1),
    ("job:done", {"status": "TIMED_OUT"}, "failed", 1),
    ("EXECUTION:FAILED", {}, "failed", 1),
    ("run.over", {"status": "completed"}, "canceled", 1),
    ("nothing", {"status": "running"}, "ended", 4),
]


async def status_of(gateway: RunningGateway, execution_id: str) -> str:
    path = f"{gateway.url}/api/v1/workflows/-/runs/{execution_id}"
    async with gateway.session.get(path, headers=credentials()) as response:
        return str((await response.json())["status"])


async def connected(gateway: RunningGateway, execution_id: str) -> Any:
    reader = SseReader(await gateway.get(execution_id))
    return (await reader.expect("connected")).json()


@pytest.mark.parametrize("subscription", ["pattern"])
async def test_one_status_everywhere(
    start_gateway: StartGateway, redis: Redis, redis_url: str
) -> None:
    """The document, `connected` and `meta` agree, for bare events and a `Publisher`'s, while the
    history is kept and after it has expired; `connected` names the terminal types."""
    gateway = await start_gateway(ownership="token", terminal_types=TYPES)
    types = TYPES.split(", ")
    async with Publisher(redis_url, terminal_types=types) as publisher:
        for number, (event_type, data, _, _) in enumerate(ENDS):
            await redis.publish(f"execution:bare-{number}", producer_message(event_type, **data))
            await publisher.publish(f"published-{number}", event_type, data)
    await eventually(lambda: gateway.components.metrics.events_recorded == len(ENDS))
    for number, (event_type, data, status, _) in enumerate(ENDS):
        for name in (f"bare-{number}", f"published-{number}"):
            about = (name, event_type, data)
            stored = await redis.hmget(meta_key(name), "terminal_type", "terminal_status")
            assert stored == [event_type.encode(), status.encode()], about
            for _ in ("kept", "expired"):
                shown = await connected(gateway, name)
                assert shown["status"] == status, about
                assert shown["terminal_types"] == {
                    "job:done": None, "EXECUTION:FAILED": None, "run.over": "canceled",
                    "nothing": None,
                }  # fmt: skip
                assert await status_of(gateway, name) == status, about
                await redis.delete(events_key(name))


@pytest.mark.parametrize("subscription", ["pattern"])
async def test_the_end_of_an_earlier_release(start_gateway: StartGateway, redis: Redis) -> None:
    """Where `meta` does not say how a run ended, its event does; without the event no success is
    guessed."""
    gateway = await start_gateway(ownership="token", terminal_types=TYPES)
    for name in ("run-1", "run-2"):
        await redis.publish(f"execution:{name}", producer_message("job:done", error="x"))
    await eventually(lambda: gateway.components.metrics.events_recorded == 2)
    for name in ("run-1", "run-2"):
        await redis.hdel(meta_key(name), "terminal_status")
    await redis.delete(events_key("run-2"))
    history = History(redis)
    page = await history.page("run-1", None)
    assert (page.terminal_type, page.terminal_status) == ("job:done", None)
    assert (await connected(gateway, "run-1"))["status"] == "failed"
    assert (await connected(gateway, "run-2"))["status"] == "ended"
    assert await status_of(gateway, "run-2") == "ended"


async def test_standard_types_are_not_named(gateway: RunningGateway) -> None:
    """With the standard types `connected` has no `terminal_types`."""
    assert "terminal_types" not in await connected(gateway, "run-1")


async def test_tail_exits_with_the_status(start_gateway: StartGateway, redis: Redis) -> None:
    """`tail` ends with the exit status of the gateway's own endings; 4 where the event does not say
    how the run ended."""
    gateway = await start_gateway(ownership="token", terminal_types=TYPES)
    for number in (1, 5):
        event_type, data, status, exit_status = ENDS[number]
        await redis.publish(f"execution:run-{number}", producer_message(event_type, **data))
        code, out, _ = await run(
            "tail", f"run-{number}", "--url", gateway.url, "--organization", "acme"
        )
        assert (code, out.splitlines()[-1]) == (exit_status, status)
