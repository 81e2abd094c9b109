"""Several gateways behind one nginx: an execution's tabs meet in one, and survive its death."""

import asyncio
import re
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from redis.asyncio import Redis

from tests.conftest import credentials
from tests.process.programs import Process, serving
from tests.sidecars.proxy import SITE, Nginx
from tests.support import SseReader, eventually, producer_message

SEVERAL = SITE.with_name("several-instances.conf")
EXECUTIONS = [f"run-{number}" for number in range(16)]


@dataclass
class Fleet:
    """Two gateways on unix sockets, and an nginx before them."""

    nginx: Nginx
    gateways: list[Process]
    session: aiohttp.ClientSession
    readers: dict[str, list[SseReader]] = field(default_factory=dict)
    opened: list[SseReader] = field(default_factory=list)

    async def open(self, execution_id: str, cursor: str = "") -> SseReader:
        url = f"{self.nginx.url}/api/v1/sse/executions/{execution_id}/stream"
        more = {"Last-Event-ID": cursor} if cursor else {}
        reader = SseReader(await self.session.get(url, headers={**credentials(), **more}))
        self.opened.append(reader)
        await reader.expect("connected")
        self.readers.setdefault(execution_id, []).append(reader)
        return reader


@pytest.fixture
async def fleet(redis_url: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with AsyncExitStack() as stack:
        # Not below pytest's own directory, which nobody but its owner may enter.
        sockets = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        sockets.chmod(0o755)
        gateways = []
        for number in (1, 2):
            settings = {"GATEWAY_UNIX_SOCKET": str(sockets / f"{number}.sock")}
            gateways.append(
                await stack.enter_async_context(
                    serving(REDIS_URL=redis_url, GATEWAY_OWNERSHIP="token", **settings)
                )
            )
            # Started by root, nginx's workers are somebody else; who installs it uses a group.
            (sockets / f"{number}.sock").chmod(0o666)
        nginx = Nginx(tmp_path, "http://127.0.0.1:1")
        several = SEVERAL.read_text().replace("/run/sse-gateway/", f"{sockets}/")
        nginx.site = re.sub(
            r"upstream backend \{.*?\}", lambda _: several, nginx.site, flags=re.DOTALL
        )
        nginx.start()
        stack.callback(nginx.stop)
        session = await stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        )

        async def healthy() -> bool:
            async with session.get(f"{nginx.url}/api/v1/sse/health") as response:
                return response.status == 200

        await eventually(healthy)
        for gateway in gateways:
            await gateway.says("Subscribed")
        fleet = Fleet(nginx, gateways, session)
        yield fleet
        for reader in fleet.opened:
            reader.response.close()


async def until_cut(reader: SseReader) -> bool:
    """Whether the stream of *reader* is cut, given the time that it takes to notice."""
    try:
        await reader.next(timeout=0.5)
    except aiohttp.ClientError:
        return True
    except TimeoutError:
        pass
    return False


async def test_meet_in_one_and_survive_it(fleet: Fleet, redis: Redis) -> None:
    """All tabs of an execution are in one process, the executions are spread over both, and when
    one is killed its tabs come back through the other at once, and lose nothing by id."""
    for execution_id in EXECUTIONS:
        for _ in range(3):
            await fleet.open(execution_id)
        await redis.publish(f"execution:{execution_id}", producer_message("step:started"))
    last = {}
    for execution_id, readers in fleet.readers.items():
        [seen] = {(await reader.expect("step:started")).id for reader in readers}
        last[execution_id] = seen or ""
    fleet.gateways[0].signal(signal.SIGKILL)
    await fleet.gateways[0].ended()
    cut = {
        execution_id: await asyncio.gather(*map(until_cut, readers))
        for execution_id, readers in fleet.readers.items()
    }
    assert all(len(set(tabs)) == 1 for tabs in cut.values()), "tabs of one execution in two"
    moved = [execution_id for execution_id, tabs in cut.items() if tabs[0]]
    assert 0 < len(moved) < len(EXECUTIONS), "all executions in one process"
    # Published while their tabs are on their way back.
    for execution_id in EXECUTIONS:
        await redis.publish(f"execution:{execution_id}", producer_message("step:completed"))
        await redis.publish(f"execution:{execution_id}", producer_message("execution:completed"))
    for execution_id in moved:
        fleet.readers[execution_id] = []
        await fleet.open(execution_id, last[execution_id])
    for execution_id, readers in fleet.readers.items():
        epoch = last[execution_id].partition("-")[0]
        for reader in readers:
            assert [seen.id for seen in await reader.rest()] == [f"{epoch}-2", f"{epoch}-3"]


async def test_streams_and_polls_meet(fleet: Fleet) -> None:
    """A path that names an execution leads to one process whichever path it is: the map finds the
    same execution in each."""
    found = re.findall(r'"~(\S+)"\s+\$(\w+);', SEVERAL.read_text())
    assert len(found) == 2
    for path in (
        "/api/v1/sse/executions/run-1/stream",
        "/api/v1/sse/executions/run-1/ticket",
        "/api/v1/workflows/flow-1/runs/run-1",
    ):
        matches = [re.search(form.replace("(?<", "(?P<"), path) for form, _ in found]
        assert [one[1] for one in matches if one] == ["run-1"], path
    assert not any(
        re.search(form.replace("(?<", "(?P<"), "/api/v1/sse/health") for form, _ in found
    )
