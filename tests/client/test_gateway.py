"""The package against a real gateway: what one page goes through, in Node."""

import asyncio
import signal
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from redis.asyncio import Redis

from gateway.access.tokens import issue
from gateway.publisher import Publisher
from tests.conftest import StartGateway
from tests.delivery.upgrade.previous_release import extract
from tests.harness.gateway_process import serving
from tests.npm import NODE
from tests.support import DEADLINE, SECRET, eventually, free_port, producer_message

FOLLOW = Path(__file__).parent / "follow.mjs"


class Follower:
    """A Node process that follows run-1; `said` is what it has printed so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.said: list[dict[str, Any]] = []
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self.said.append(orjson.loads(line))

    @property
    def numbers(self) -> list[int]:
        return [line["number"] for line in self.said if line.get("number") is not None]

    @property
    def statuses(self) -> list[str]:
        return [line["status"] for line in self.said if "status" in line]

    async def ended(self) -> dict[str, Any]:
        """The run that it has seen, once it is over."""
        async with asyncio.timeout(2 * DEADLINE):
            await self._reading
            assert await self._process.wait() == 0
        run: dict[str, Any] = self.said[-1]["run"]
        return run


@asynccontextmanager
async def following(url: str, *client: str) -> AsyncIterator[Follower]:
    """*client*: the package's `index.js`, if not the present one."""
    token = issue(SECRET, organization_id="acme")
    process = await asyncio.create_subprocess_exec(
        NODE, str(FOLLOW), url, "run-1", token, "acme", *client, stdout=PIPE
    )
    follower = Follower(process)
    try:
        yield follower
    finally:
        if process.returncode is None:
            process.kill()
        await follower._reading
        await process.wait()


async def publish(redis: Redis, number: int, event_type: str = "step:started") -> None:
    await redis.publish("execution:run-1", producer_message(event_type, number=number))


async def test_through_a_kill(redis_url: str, redis: Redis) -> None:
    """A gateway is killed in the middle of a run and started again: every event once, in order, the
    status says so meanwhile, and the run is the one that a poll gives."""
    settings = {
        "REDIS_URL": redis_url,
        "GATEWAY_OWNERSHIP": "token",
        "GATEWAY_PORT": str(free_port()),
    }
    async with serving(**settings) as first, following(first.url) as follower:
        await eventually(lambda: "live" in follower.statuses)
        for number in range(5):
            await publish(redis, number)
        await eventually(lambda: len(follower.numbers) == 5)
        first.signal(signal.SIGKILL)
        await eventually(lambda: follower.statuses[-1] == "reconnecting")
        async with serving(**settings):
            await eventually(lambda: follower.statuses[-1] == "live")
            await publish(redis, 5)
            await publish(redis, 6, "execution:completed")
            run = await follower.ended()
    assert follower.numbers == list(range(7))
    assert follower.statuses[-1] == run["status"] == "completed"
    assert "polling" not in follower.statuses


async def test_history_first(start_gateway: StartGateway, redis: Redis) -> None:
    """Who comes late is not called live before the last event that had happened until then."""
    gateway = await start_gateway(ownership="token")
    for number in range(50):
        await publish(redis, number)
    await eventually(lambda: gateway.components.metrics.events_recorded == 50)
    async with following(gateway.url) as follower:
        await eventually(lambda: "live" in follower.statuses)
        assert follower.numbers == list(range(50))
        await publish(redis, 50, "execution:failed")
        assert (await follower.ended())["status"] == "failed"
    # What arrives in one packet with the beginning is caught up with at once.
    assert [one for one in follower.statuses if one != "catching-up"] == ["live", "failed"]


async def test_the_previous_package(
    start_gateway: StartGateway, redis: Redis, redis_url: str, tmp_path: Path
) -> None:
    """A page that still has the package of the previous release takes a restart for a lost history,
    and shows the new run. It ends with an ending of an engine's own, and does not say
    `completed`."""
    client = extract(tmp_path) / "gateway" / "client" / "index.js"
    gateway = await start_gateway(ownership="token", terminal_types="run.over,execution:failed")
    async with following(gateway.url, str(client)) as follower, Publisher(redis_url) as publisher:
        await eventually(lambda: "live" in follower.statuses)
        await publish(redis, 1)
        await eventually(lambda: follower.numbers == [1])
        first = await publisher.restart("run-1")
        await eventually(lambda: first in [line.get("id") for line in follower.said])
        await publish(redis, 2)
        await eventually(lambda: follower.numbers == [1, 2])
        await publish(redis, 3, "run.over")
        run = await follower.ended()
    assert "stream:reset" in [line.get("event") for line in follower.said]
    assert follower.numbers == [1, 2, 3]
    assert run["last_event_id"].partition("-")[0] == first.partition("-")[0]
    assert len(run["execution_logs"]) == 1
    assert "completed" not in [*follower.statuses, run["status"]]
