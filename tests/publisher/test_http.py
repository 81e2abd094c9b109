"""By HTTP: published once or a clear error in time, whatever happens to gateways and tokens."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from gateway.publisher import (
    EventRefused,
    Publisher,
    PublishFailed,
    RegistrationRefused,
    RunForgotten,
    RunRestarted,
)
from tests.conftest import RunningGateway, StartGateway
from tests.harness.gateway_process import run
from tests.harness.history import ids, kept
from tests.harness.redis_process import RedisProcess
from tests.harness.tcp_proxy import TcpProxy
from tests.publisher.conftest import Either, MakePublisher, numbers, publishing_token
from tests.publisher.test_buffer import run_script
from tests.support import eventually, free_port


class CountingProxy(TcpProxy):
    """Counts the requests that pass."""

    requests = 0

    async def request_passes(self, chunk: bytes) -> bool:
        self.requests += chunk.count(b"Idempotency-Key")
        return True


@pytest.fixture
async def proxy(gateway: RunningGateway) -> AsyncIterator[CountingProxy]:
    async with CountingProxy(port_of(gateway)) as proxy:
        yield proxy


def port_of(gateway: RunningGateway) -> int:
    return int(gateway.url.rpartition(":")[2])


def url_of(proxy: TcpProxy) -> str:
    return f"http://127.0.0.1:{proxy.port}"


@pytest.fixture
def publisher(make_publisher: MakePublisher, proxy: CountingProxy) -> Either:
    return make_publisher(url_of(proxy), token=publishing_token())


@pytest.mark.parametrize("lost", [1, 3])
async def test_a_lost_answer_does_not_double_the_event(
    publisher: Either, proxy: CountingProxy, redis: Redis, lost: int
) -> None:
    """An event whose answer was lost is tried again, and is there once, with its first id."""
    await publisher.publish("run-1", "a", {"number": 1})
    proxy.lose = lost
    second = await publisher.publish("run-1", "a", {"number": 2})
    assert proxy.lose == 0
    third = await publisher.publish("run-1", "a", {"number": 3})
    assert (await ids(redis, "run-1"))[1:] == [second, third]
    assert await numbers(redis) == [1, 2, 3]


async def test_a_lost_answer_does_not_double_what_was_buffered(
    publisher: Either, proxy: CountingProxy, redis: Redis
) -> None:
    """What is sent together is sent again as it was, also where more events wait by then; and it
    takes few calls."""
    proxy.lose = 2
    for number in range(1000):
        publisher.buffered.publish("run-1", "a", {"number": number})
        if number == 20:
            await eventually(lambda: proxy.requests)
    await publisher.flush(10)
    assert proxy.lose == 0
    assert await numbers(redis) == list(range(1000))
    assert proxy.requests < 12


async def test_another_gateway_gets_the_event_once(
    start_gateway: StartGateway, publisher: Either, proxy: CountingProxy, redis: Redis
) -> None:
    """While the gateway is away the event waits; the next one knows what the first has published,
    though its answer was lost."""
    other = await start_gateway(publish=True)
    await publisher.publish("run-1", "a", {"number": 1})
    proxy.lose = 1
    publishing = asyncio.ensure_future(publisher.publish("run-1", "a", {"number": 2}))
    await eventually(lambda: not proxy.lose)
    proxy.switch(None)
    await asyncio.wait({publishing}, timeout=0.2)
    assert not publishing.done()
    proxy.switch(port_of(other))
    assert (await ids(redis, "run-1"))[-1] == await publishing
    assert await numbers(redis) == [1, 2]


async def test_a_redis_that_is_away_is_waited_for(
    start_gateway: StartGateway,
    redis_process: Callable[..., RedisProcess],
) -> None:
    """A gateway without its Redis does not know whether the event is published, and says so: the
    event is sent again, and is there once."""
    process = redis_process("--appendonly", "yes", "--appendfsync", "always")
    gateway = await start_gateway(publish=True, redis_url=process.url)
    async with Publisher(gateway.url, token=publishing_token(), deadline=12) as publisher:
        await publisher.publish("run-1", "a", {"number": 1})
        process.kill()
        publishing = asyncio.ensure_future(publisher.publish("run-1", "a", {"number": 2}))
        await asyncio.wait({publishing}, timeout=0.3)
        assert not publishing.done()
        await asyncio.to_thread(process.start)
        await publishing
    async with Redis.from_url(process.url) as client:
        assert await numbers(client) == [1, 2]


@pytest.mark.alone
async def test_a_gateway_that_is_away_fails_at_the_deadline(make_publisher: MakePublisher) -> None:
    """A clear error within the deadline, with the key; the buffer keeps what it has."""
    away = f"http://127.0.0.1:{free_port()}"
    publisher = make_publisher(away, token="t", deadline=0.6)
    began = time.monotonic()
    with pytest.raises(PublishFailed) as caught:
        await publisher.publish("run-1", "a", {})
    assert 0.4 < time.monotonic() - began < 1.5
    assert str(caught.value) == (
        "Not published within 0.6 s. The gateway cannot be reached: check that it runs and that "
        "the URL names it."
    )
    assert caught.value.idempotency_key
    publisher.buffered.publish("run-1", "a", {})
    with pytest.raises(PublishFailed, match=r"1 events are not sent yet.* cannot be reached"):
        await publisher.close(0.5)


async def test_the_key_of_an_error_publishes_once(publisher: Either, redis: Redis) -> None:
    """A second event with a known key is the first one, though its time is another."""
    first = await publisher.step_started("run-1", node_id="n", node_type="t", idempotency_key="é")
    again = await publisher.step_started(
        "run-1", node_id="n", node_type="t", idempotency_key="é", started_at="2024-01-15T10:30:00Z"
    )
    assert again == first
    assert len(await kept(redis)) == 1


async def test_a_limit_is_waited_for(
    start_gateway: StartGateway, make_publisher: MakePublisher, redis: Redis
) -> None:
    """Events above the gateway's limit are sent after the time that it names."""
    gateway = await start_gateway(publish=True, max_published_events_per_subject=2)
    publisher = make_publisher(gateway.url, token=publishing_token())
    began = time.monotonic()
    for number in range(3):
        await publisher.publish("run-1", "a", {"number": number})
    assert 0.9 < time.monotonic() - began < 3
    assert await numbers(redis) == [0, 1, 2]


async def test_events_of_a_former_run_are_refused(
    make_publisher: MakePublisher,
    publisher: Either,
    gateway: RunningGateway,
    redis: Redis,
    redis_url: str,
) -> None:
    """A publisher that has published in the former run gets an error until it joins the new one;
    what it had buffered is left out. A deleted execution takes nothing."""
    other = make_publisher(gateway.url, token=publishing_token())
    await publisher.publish("run-1", "a", {"number": 1})
    restarted = await other.restart("run-1", data={"number": 2}, keep=True)
    assert await ids(redis, "run-1") == [restarted]
    [former] = await redis.keys("sse:{run-1}:former:*:events")
    # Without `keep` it is an hour.
    assert await redis.pttl(former) > 3_700_000
    with pytest.raises(RunRestarted, match="call `join_run` first"):
        await publisher.publish("run-1", "a", {"number": 3})
    publisher.buffered.publish("run-1", "a", {"number": 4})
    publisher.buffered.publish("run-1", "a", {"number": 5})
    await publisher.flush()
    publisher.publisher.join_run("run-1")
    await publisher.publish("run-1", "a", {"number": 6})
    await other.publish("run-1", "a", {"number": 7})
    assert await numbers(redis) == [2, 6, 7]
    await run("forget", "run-1", REDIS_URL=redis_url)
    with pytest.raises(RunForgotten):
        await publisher.publish("run-1", "a", {})


async def test_only_the_refused_event_of_a_buffer_is_left_out(
    start_gateway: StartGateway, make_publisher: MakePublisher, redis: Redis, caplog: Any
) -> None:
    """An event that the gateway alone finds wrong raises; in a buffer it stops no other one, and
    the log has it."""
    gateway = await start_gateway(publish=True, event_max_bytes=2000)
    publisher = make_publisher(gateway.url, token=publishing_token())
    for number in range(5):
        data = {"number": number, "text": "x" * (3000 if number == 2 else 1)}
        publisher.buffered.publish("run-1", "a", data)
    await publisher.flush()
    assert await numbers(redis) == [0, 1, 3, 4]
    assert "A buffered event is not sent." in caplog.text
    with pytest.raises(EventRefused, match="2000 are allowed"):
        await publisher.publish("run-1", "a", {"text": "x" * 3000})


async def test_another_organizations_execution(
    make_publisher: MakePublisher, gateway: RunningGateway, redis: Redis
) -> None:
    """It can be neither registered nor published to."""
    theirs = make_publisher(gateway.url, token=publishing_token("other"))
    await theirs.publish("run-1", "a", {"number": 1})
    publisher = make_publisher(
        gateway.url, token=publishing_token("acme", "more"), organization_id="acme"
    )
    with pytest.raises(PublishFailed, match="execution_forbidden"):
        await publisher.publish("run-1", "a", {})
    with pytest.raises(RegistrationRefused, match="may not publish"):
        await publisher.register("run-1", "acme")
    await publisher.register("run-2", "more", "invoices")
    with pytest.raises(RegistrationRefused, match="another workflow"):
        await publisher.register("run-2", "more", "letters")
    assert await numbers(redis) == [1]


_FORKS = """
import os, sys
from gateway.publisher import SyncPublisher

publisher = SyncPublisher(sys.argv[1], token=sys.argv[2])
publisher.publish("run-1", "a", {})
child = os.fork()
for _ in range(50):
    event_id = publisher.publish("run-1", "a", {"pid": os.getpid()})
    # In one piece: both write.
    os.write(1, f"{event_id} {os.getpid()};".encode())
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


async def test_a_child_process_opens_its_own_connections(
    gateway: RunningGateway, redis: Redis
) -> None:
    """After a fork both publish at the same time, and each call gets the id of its own event."""
    ended = await asyncio.to_thread(run_script, _FORKS, gateway.url, publishing_token())
    assert ended.returncode == 0, ended.stderr
    published = {
        event_id: orjson.loads(payload)["data"].get("pid")
        for event_id, payload in await kept(redis)
    }
    said = [line.split() for line in ended.stdout.split(";")[:-1]]
    assert len({event_id for event_id, _ in said}) == 100
    assert [published[event_id] for event_id, _ in said] == [int(pid) for _, pid in said]
