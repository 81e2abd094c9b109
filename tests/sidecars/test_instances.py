"""Several gateways on unix sockets behind the sample nginx, as real processes."""

import re
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import ClientSession, TCPConnector
from redis.asyncio import Redis
from yarl import URL

from tests.conftest import credentials
from tests.harness.gateway_process import GatewayProcess, serving
from tests.harness.nginx import Nginx
from tests.harness.tab import Tab, following
from tests.support import eventually, producer_message

EXECUTIONS = [f"run:{number}" for number in range(16)]
_ONE = "server 127.0.0.1:8080;"


class Fleet:
    """Two gateways, and one nginx in front of them, whose *site* may be changed before `start`."""

    def __init__(self, prefix: Path, redis_url: str, stack: AsyncExitStack) -> None:
        self._stack = stack
        self._settings = {
            "REDIS_URL": redis_url,
            "GATEWAY_OWNERSHIP": "token",
            "GATEWAY_DRAIN_SECONDS": "0.5",
        }
        self.sockets = [prefix / f"{number}.sock" for number in (1, 2)]
        self.processes: dict[Path, GatewayProcess] = {}
        self.nginx = Nginx(prefix, "http://127.0.0.1:8080")
        # As nginx/README.md says.
        both = "\n    ".join(f"server unix:{path} max_fails=0;" for path in self.sockets)
        self.nginx.replace(_ONE, both)

    async def start(self) -> ClientSession:
        """Start all; a client with credentials."""
        for path in self.sockets:
            await self.serve(path)
        self.nginx.start()
        self._stack.callback(self.nginx.stop)
        session = ClientSession(connector=TCPConnector(limit=0), headers=credentials())
        return await self._stack.enter_async_context(session)

    async def serve(self, path: Path) -> None:
        """Start the gateway on the socket *path*, and wait until events reach it."""
        started = serving(**self._settings, GATEWAY_UNIX_SOCKET=str(path))
        process = await self._stack.enter_async_context(started)
        self.processes[path] = process
        await process.says("Subscribed")

    def asked(self, path: str) -> list[str]:
        """The gateway of each finished request for *path*: the last that nginx tried."""
        line = rf'"\w+ {re.escape(path)} HTTP/1.1" \d+ .* upstream=(\S+(?:, \S+)*) '
        tried = re.findall(line, self.nginx.logged())
        return [all_tried.split(", ")[-1].removeprefix("unix:") for all_tried in tried]


@pytest.fixture
async def fleet(tmp_path: Path, redis_url: str) -> AsyncIterator[Fleet]:
    async with AsyncExitStack() as stack:
        yield Fleet(tmp_path, redis_url, stack)


def paths(execution_id: str) -> list[str]:
    """All that can be asked of one execution."""
    stream = f"/api/v1/sse/executions/{execution_id}/stream"
    ticket = f"/api/v1/sse/executions/{execution_id}/ticket"
    return [stream, ticket, f"/api/v1/workflows/wf/runs/{execution_id}"]


async def ask_for_all(fleet: Fleet) -> dict[str, list[str]]:
    """Open three streams of each execution (one spells its id in another way), ask for a ticket
    and a run; the gateways that answered, by execution."""
    session = await fleet.start()
    for execution_id in EXECUTIONS:
        stream, ticket, run = paths(execution_id)
        for path in (stream, stream, stream.replace(":", "%3a")):
            # Encoded: sent as it is written.
            async with session.get(URL(fleet.nginx.url + path, encoded=True)) as response:
                assert response.status == 200
        async with session.post(fleet.nginx.url + ticket) as response:
            assert response.status == 200
        async with session.get(fleet.nginx.url + run) as response:
            assert response.status in (200, 404)

    def gateways() -> dict[str, list[str]]:
        return {
            one: [who for path in paths(one) for who in fleet.asked(path)] for one in EXECUTIONS
        }

    # nginx writes its line after the answer has gone.
    await eventually(lambda: all(len(asked) == 5 for asked in gateways().values()))
    return gateways()


async def test_meet(fleet: Fleet) -> None:
    """Whatever is asked of one execution goes to one gateway, and many executions to both."""
    found = await ask_for_all(fleet)
    assert all(len(set(asked)) == 1 for asked in found.values()), found
    assert {who for asked in found.values() for who in asked} == set(map(str, fleet.sockets))


async def test_why_the_hash(fleet: Fleet) -> None:
    """Without the line that hashes, the tabs of an execution are spread over both."""
    fleet.nginx.replace("hash $execution_id consistent;", "")
    found = await ask_for_all(fleet)
    assert any(len(set(asked)) == 2 for asked in found.values())


async def test_killed(fleet: Fleet, redis: Redis) -> None:
    """Tabs of a gateway that is killed come back through the other, having lost nothing; those of
    the other are not touched. The killed one gets its executions back once it is there again."""
    session = await fleet.start()
    tabs = [Tab(session, fleet.nginx.url, one) for one in EXECUTIONS for _ in range(2)]

    async def publish(event_type: str) -> None:
        for execution_id in EXECUTIONS:
            await redis.publish(f"execution:{execution_id}", producer_message(event_type))

    async with following(tabs):
        await eventually(lambda: all(tab.opened for tab in tabs))
        await publish("step:started")
        await eventually(lambda: all(tab.numbers == [1] for tab in tabs))
        dead = fleet.sockets[0]
        fleet.processes[dead].signal(signal.SIGKILL)
        await fleet.processes[dead].ended()
        await publish("step:completed")
        await eventually(lambda: all(tab.numbers == [1, 2] for tab in tabs))
        again = {tab.execution_id for tab in tabs if tab.opened > 1}
        assert {tab.opened for tab in tabs} == {1, 2}
        assert all((tab.opened > 1) == (tab.execution_id in again) for tab in tabs)
        await fleet.serve(dead)
        await publish("execution:completed")
        await eventually(lambda: all(tab.statuses[-1] == 204 for tab in tabs))
    assert all(tab.numbers == [1, 2, 3] and not tab.notices for tab in tabs)
    for execution_id in EXECUTIONS:
        # The last one asked for the 204, when both were there again.
        owner = str(dead) if execution_id in again else str(fleet.sockets[1])
        await eventually(_asked_last(fleet, paths(execution_id)[0], owner))


def _asked_last(fleet: Fleet, path: str, owner: str) -> Callable[[], bool]:
    return lambda: fleet.asked(path)[-1:] == [owner]


async def test_told_to_stop(fleet: Fleet, redis: Redis) -> None:
    """A gateway that must stop closes its streams with `drain`: they come to the other one,
    and lose nothing."""
    session = await fleet.start()
    tabs = [Tab(session, fleet.nginx.url, one) for one in EXECUTIONS]
    async with following(tabs):
        await eventually(lambda: all(tab.opened for tab in tabs))
        fleet.processes[fleet.sockets[0]].signal(signal.SIGTERM)
        for number in range(5):
            for execution_id in EXECUTIONS:
                message = producer_message("step:started", number=number)
                await redis.publish(f"execution:{execution_id}", message)
        assert await fleet.processes[fleet.sockets[0]].ended() == 0
        await eventually(lambda: all(tab.numbers == [1, 2, 3, 4, 5] for tab in tabs))
    sent_away = [tab for tab in tabs if tab.notices]
    assert 0 < len(sent_away) < len(tabs)
    for tab in sent_away:
        assert [(one.event, one.json()["reason"]) for one in tab.notices] == [
            ("stream:closing", "drain")
        ]
