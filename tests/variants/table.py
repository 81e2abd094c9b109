"""What a gateway needs of a server, tried with each of several servers."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import aiohttp
import pytest

from gateway.app import COMPONENTS, create_application
from gateway.publisher import Publisher
from gateway.server import Server
from gateway.settings import load
from tests.conftest import RunningGateway
from tests.harness.redis_process import RedisProcess, embedded_server_program
from tests.support import SECRET, eventually, producer_message


class Pair:
    """One server, and one gateway on it."""

    def __init__(self, server: RedisProcess, gateway: RunningGateway) -> None:
        self.server = server
        self.gateway = gateway

    def publish(self, event_type: str, execution_id: str) -> None:
        """As a worker of today does."""
        message = producer_message(event_type).decode()
        self.server.command("PUBLISH", f"execution:{execution_id}", message)


async def bare(pair: Pair) -> None:
    """A PUBLISH is recorded, shown and kept."""
    reader = await pair.gateway.open("bare")
    pair.publish("step:started", "bare")
    event_id = (await reader.expect("step:started")).id
    assert event_id is not None
    again = await pair.gateway.open("bare")
    assert (await again.expect("step:started")).id == event_id


async def publisher(pair: Pair) -> None:
    """A Publisher's event has the id that it returned, and a cursor leads on from it."""
    async with Publisher(pair.server.gateway_url.replace("gateway:", "publisher:")) as one:
        first = await one.publish("publisher", "step:started", {})
        second = await one.publish("publisher", "step:completed", {})
    reader = await pair.gateway.open("publisher", Last_Event_ID=str(first))
    assert (await reader.expect("step:completed")).id == str(second)


async def cut(pair: Pair) -> None:
    """What was recorded while the subscription was cut is shown once it is back."""
    reader = await pair.gateway.open("cut")
    pair.server.command("CLIENT", "KILL", "TYPE", "pubsub")
    async with Publisher(pair.server.gateway_url.replace("gateway:", "publisher:")) as one:
        event_id = await one.publish("cut", "step:started", {})
    assert (await reader.expect("step:started")).id == str(event_id)
    await eventually(pair.gateway.healthy)


async def health(pair: Pair) -> None:
    """A server that refuses to write is named by its code, and so is the end of it."""
    pair.server.command("CONFIG", "SET", "maxmemory", "1")

    async def says_so() -> bool:
        status, document = await pair.gateway.health()
        return status == 503 and "(OOM)" in document["reason"]

    await eventually(says_so)
    pair.server.command("CONFIG", "SET", "maxmemory", "0")
    await eventually(pair.gateway.healthy)


async def restart(pair: Pair) -> None:
    """A stream outlives a restart of the server, whose append-only file keeps its history."""
    reader = await pair.gateway.open("restart")
    pair.publish("step:started", "restart")
    await reader.expect("step:started")
    await asyncio.to_thread(pair.server.stop)
    await asyncio.to_thread(pair.server.start)
    await eventually(pair.gateway.healthy)
    pair.publish("step:completed", "restart")
    await reader.expect("step:completed")
    again = await pair.gateway.open("restart")
    await again.expect("step:started")
    await again.expect("step:completed")


CHECKS: dict[str, Callable[[Pair], Awaitable[None]]] = {
    "bare": bare,
    "Publisher": publisher,
    "cut": cut,
    "health": health,
    "restart": restart,
}


def servers() -> list[str]:
    """The programs that `SERVERS` names; else those of this machine."""
    if named := os.environ.get("SERVERS", "").split():
        return named
    found = [path for name in ("redis-server", "valkey-server") if (path := shutil.which(name))]
    with suppress(ImportError, pytest.skip.Exception):
        found.append(embedded_server_program())
    return found


def version_of(program: str) -> str:
    """Such as `Redis 7.0.15`."""
    # `Redis server v=7.0.15 sha=…`, or `Valkey server v=9.1.2 …`
    words = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    name, _, version, *_ = words.stdout.split()
    return f"{name} {version.removeprefix('v=')}"


@asynccontextmanager
async def started(program: str) -> AsyncIterator[Pair]:
    """A server of *program* with a gateway that has no more rights than it needs."""
    process = RedisProcess("--appendonly", "yes", program=program)
    async with AsyncExitStack() as stack:
        stack.callback(process.clean_up)
        await asyncio.to_thread(process.start)
        settings = load(
            None,
            redis_url=process.gateway_url,
            jwt_secret=SECRET,
            port=0,
            admin_port="off",
            ownership="token",
            drain_seconds=0.1,
        )
        application = create_application(settings)
        server = Server(settings, application)
        await server.start()
        stack.push_async_callback(server.stop)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        gateway = RunningGateway(server, application[COMPONENTS], session)
        stack.callback(gateway.close_streams)
        await eventually(gateway.healthy)
        yield Pair(process, gateway)


async def row(program: str) -> dict[str, str]:
    """By check: `works`, or what is wrong."""
    found = {}
    async with started(program) as pair:
        for name, check in CHECKS.items():
            try:
                await check(pair)
            except Exception as error:
                found[name] = f"{type(error).__name__}: {error}".splitlines()[0]
            else:
                found[name] = "works"
    return found
