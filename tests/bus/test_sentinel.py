"""A master that is none any more is left, by commands and by the subscription alike.

The sentinel is a real one that is told to watch another server: so the former master stays alive,
as it does when it was cut off from its sentinels, hangs, or was demoted by hand.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis
from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import ConnectionError as RedisConnectionError

from gateway.bus.connection import COMMAND_TIMEOUT, create_redis, server_of
from gateway.bus.sentinel import Master
from tests.conftest import StartGateway
from tests.harness.redis_process import Masters, RedisProcess
from tests.support import eventually, free_port, producer_message


@pytest.fixture
async def client(masters: Masters) -> AsyncIterator[Redis]:
    """The gateway's own client; nobody looks after the master but its connections."""
    async with create_redis(masters.url, max_connections=4) as client:
        yield client


@asynccontextmanager
async def subscribed(client: Redis) -> AsyncIterator["asyncio.Task[object]"]:
    """A connection outside the pool, as the subscription has one, that waits for a message."""
    connection = client.connection_pool.make_connection()
    await connection.connect()
    reading = asyncio.create_task(connection.read_response(timeout=float("inf")))
    try:
        yield reading
    finally:
        reading.cancel()
        await asyncio.wait({reading})
        await connection.disconnect(nowait=True)


async def test_the_gateway_follows_the_master(
    masters: Masters, start_gateway: StartGateway
) -> None:
    """A gateway leaves a master that is alive and well when the sentinel names another one: streams
    get the events of that one, health recovers, and nothing is left at the former one."""
    gateway = await start_gateway(ownership="token", redis_url=masters.url)
    reader = await gateway.open("run-1")
    # More connections than it needs in the next minute: the others stay idle in its pool.
    await asyncio.gather(*[gateway.components.redis.ping() for _ in range(4)])
    clients = _clients(masters.first)
    assert len(clients) > 4, "the gateway was never there"
    await masters.fail_over()
    await eventually(lambda: gateway.components.metrics.feed_connections == 2)
    masters.second.command("PUBLISH", "execution:run-1", producer_message("second").decode())
    await reader.expect("second")
    await eventually(gateway.healthy)
    await eventually(lambda: not _clients(masters.first) & clients)


async def test_a_connection_may_be_dropped_twice(client: Redis) -> None:
    """The sentinels and READONLY may say at once that another server is the master: the second one
    comes while the read that the first has ended has not noticed yet."""
    async with subscribed(client) as reading:
        master = server_of(client)
        assert isinstance(master, Master)
        await asyncio.sleep(0)
        await master.leave()
        await asyncio.sleep(0)
        await master.leave()
        with pytest.raises(RedisConnectionError, match="Another server is the master"):
            await reading


async def test_the_gateway_stays_without_sentinels(
    masters: Masters, start_gateway: StartGateway
) -> None:
    """A gateway whose sentinels are away, or know of no change, keeps its connections."""
    gateway = await start_gateway(ownership="token", redis_url=masters.url)
    clients = _clients(masters.first)
    master = server_of(gateway.components.redis)
    assert isinstance(master, Master)
    await master.find()
    masters.sentinel.suspend()
    with pytest.raises(MasterNotFoundError):
        await master.find()
    assert await gateway.healthy()
    assert gateway.components.metrics.feed_connections == 1
    assert clients <= _clients(masters.first)


def _clients(server: RedisProcess) -> set[bytes]:
    """The ids of our connections to *server*: sentinels have others."""
    listed = server.command("CLIENT", "LIST")
    assert isinstance(listed, bytes)
    return {line.split()[0] for line in listed.splitlines() if b" name=gateway " in line}


async def test_a_connection_that_is_dropped_while_it_sends_is_lost(client: Redis) -> None:
    """Python 3.11 sends in another task: the socket may be gone before it runs."""
    connection = client.connection_pool.make_connection()
    await connection.connect()
    sending = asyncio.create_task(connection.send_command("PING"))
    await asyncio.sleep(0)
    await connection.drop()
    outcome: object
    [outcome] = await asyncio.gather(sending, return_exceptions=True)
    assert outcome is None or isinstance(outcome, RedisConnectionError), repr(outcome)


async def test_a_demoted_master_is_left(masters: Masters, client: Redis) -> None:
    """READONLY from a demoted master: nothing stays there, neither the command nor the
    subscription, also while the sentinel has not seen it yet; then commands go to the new one."""
    assert await client.get("who") == b"first"
    async with subscribed(client) as reading:
        masters.first.command("REPLICAOF", "127.0.0.1", str(masters.second.port))
        assert not reading.done()
        with pytest.raises(MasterNotFoundError):
            await client.set("written", "nowhere")
        with pytest.raises(RedisConnectionError, match="master"):
            await reading
    await masters.fail_over()
    await client.set("written", "here")
    assert masters.second.command("GET", "written") == b"here"


async def test_a_retry_goes_to_the_new_master(masters: Masters, client: Redis) -> None:
    """A command that is tried again after READONLY is tried where the master is by now."""
    assert await client.get("who") == b"first"
    masters.first.command("REPLICAOF", "127.0.0.1", str(masters.second.port))
    await masters.fail_over()
    await client.set("written", "here")
    assert masters.second.command("GET", "written") == b"here"


async def test_idle_connections_leave_the_former_master(masters: Masters, client: Redis) -> None:
    """Once the new master is known, nothing is written at the former one, whatever connections to
    it wait in the pool."""
    await asyncio.gather(*[client.incr("written") for _ in range(4)])
    await masters.fail_over()
    master = server_of(client)
    assert isinstance(master, Master)
    await master.find()
    await asyncio.gather(*[client.incr("written") for _ in range(4)])
    assert masters.first.command("GET", "written") == b"4"
    assert masters.second.command("GET", "written") == b"4"


async def test_a_hanging_master_is_left(masters: Masters, client: Redis) -> None:
    """A command that waits for a master that hangs goes to the new one as soon as that is known,
    not only when it would have been given up; so do the connections that wait in the pool."""
    await asyncio.gather(*[client.get("who") for _ in range(4)])
    masters.first.suspend()
    loop = asyncio.get_running_loop()
    asked = loop.time()
    waiting = asyncio.ensure_future(client.get("who"))
    await masters.fail_over()
    assert not waiting.done()
    master = server_of(client)
    assert isinstance(master, Master)
    await master.find()
    assert await waiting == b"second"
    assert await asyncio.gather(*[client.get("who") for _ in range(4)]) == [b"second"] * 4
    assert loop.time() - asked < COMMAND_TIMEOUT


async def test_a_replica_is_not_used_as_master(masters: Masters, client: Redis) -> None:
    """A replica that a sentinel calls the master is not asked anything: what it has is old."""
    masters.first.command("REPLICAOF", "127.0.0.1", str(free_port()))
    with pytest.raises(MasterNotFoundError, match="not the master"):
        await client.get("who")
    masters.first.command("REPLICAOF", "NO", "ONE")
    assert await client.get("who") == b"first"


async def test_the_pool_is_bounded(masters: Masters, client: Redis) -> None:
    """Fifty commands at once take no more connections than the pool may have."""
    assert await asyncio.gather(*[client.get("who") for _ in range(50)]) == [b"first"] * 50
    assert 1 < len(_clients(masters.first)) <= 4
