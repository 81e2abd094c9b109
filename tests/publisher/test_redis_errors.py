"""Redis away, hanging, refusing or losing answers: published once, or a clear error in time."""

import asyncio
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from gateway.publisher import PublishFailed
from gateway.publisher.over_redis import is_temporary
from gateway.publisher.retry import AttemptFailed, NotReplicated, RetryDeadline
from tests.harness.history import kept
from tests.harness.redis_process import RedisProcess
from tests.harness.tcp_proxy import TcpProxy
from tests.publisher.conftest import MakePublisher, numbers

StartRedis = Callable[..., RedisProcess]


@pytest.mark.one_server
@pytest.mark.parametrize("lost", [1, 3])
async def test_a_lost_answer_does_not_double_the_event(
    make_publisher: MakePublisher, redis: Redis, redis_url: str, lost: int
) -> None:
    """An event whose answer was lost is tried again, and is there once, with its first id."""
    async with TcpProxy(int(urlsplit(redis_url).port or 0)) as proxy:
        publisher = make_publisher(proxy.redis_url)
        await publisher.publish("run-1", "a", {"number": 1})
        proxy.lose = lost
        second = await publisher.publish("run-1", "a", {"number": 2})
        assert proxy.lose == 0
        third = await publisher.publish("run-1", "a", {"number": 3})
        assert [event_id for event_id, _ in await kept(redis)][1:] == [second, third]
        assert await numbers(redis) == [1, 2, 3]


@pytest.mark.alone
async def test_redis_down_fails_at_the_deadline(
    make_publisher: MakePublisher, redis_process: StartRedis
) -> None:
    """Redis down: a clear error within the publisher's own deadline, and not before it has been
    tried for most of that time."""
    process = redis_process()
    publisher = make_publisher(process.url, deadline=0.8)
    await publisher.publish("run-1", "a", {})
    process.kill()
    began = time.monotonic()
    with pytest.raises(PublishFailed) as caught:
        await publisher.publish("run-1", "a", {})
    assert 0.5 < time.monotonic() - began < 1.6
    assert str(caught.value) == (
        "Not published within 0.8 s. Redis cannot be reached: check that it runs and that "
        "REDIS_URL names it."
    )
    assert caught.value.idempotency_key


@pytest.mark.alone
async def test_redis_hanging_fails_at_the_deadline(
    make_publisher: MakePublisher, redis_process: StartRedis
) -> None:
    """Redis hanging: the same. Whatever got through, the error's key makes the event one event,
    and the next one gets its own id."""
    process = redis_process()
    publisher = make_publisher(process.url, deadline=0.8)
    await publisher.publish("run-1", "a", {"number": 1})
    process.suspend()
    began = time.monotonic()
    with pytest.raises(PublishFailed, match="does not answer in time") as caught:
        await publisher.publish("run-1", "a", {"number": 2})
    assert 0.5 < time.monotonic() - began < 1.6
    process.resume()
    key = caught.value.idempotency_key
    second = await publisher.publish("run-1", "a", {"number": 2}, idempotency_key=key)
    third = await publisher.publish("run-1", "a", {"number": 3})
    async with Redis.from_url(process.url) as client:
        assert await numbers(client) == [1, 2, 3]
        assert [event_id for event_id, _ in await kept(client)][1:] == [second, third]


async def test_a_short_hang_publishes_once(
    make_publisher: MakePublisher, redis_process: StartRedis
) -> None:
    """Redis hanging for less than the deadline: published, once."""
    process = redis_process()
    publisher = make_publisher(process.url, deadline=3)
    await publisher.publish("run-1", "a", {"number": 1})
    process.suspend()
    publishing = asyncio.ensure_future(publisher.publish("run-1", "a", {"number": 2}))
    await asyncio.wait({publishing}, timeout=0.9)
    assert not publishing.done()
    process.resume()
    second = await publishing
    async with Redis.from_url(process.url) as client:
        assert (await kept(client))[1][0] == second
        assert await numbers(client) == [1, 2]


async def test_a_restart_before_the_deadline_publishes_once(
    make_publisher: MakePublisher, redis_process: StartRedis
) -> None:
    """Redis killed, and back before the deadline: published, once."""
    process = redis_process()
    publisher = make_publisher(process.url)
    await publisher.publish("run-1", "a", {"number": 1})
    process.kill()
    publishing = asyncio.ensure_future(publisher.publish("run-1", "a", {"number": 2}))
    await asyncio.wait({publishing}, timeout=0.3)
    assert not publishing.done()
    await asyncio.to_thread(process.start)
    await publishing
    async with Redis.from_url(process.url) as client:
        assert await numbers(client) == [2]


async def test_temporary_refusals_are_tried_again(
    make_publisher: MakePublisher, redis_process: StartRedis
) -> None:
    """What Redis refuses for the moment, as without memory, is tried again."""
    process = redis_process()
    publisher = make_publisher(process.url)
    process.command("CONFIG", "SET", "maxmemory", "1")
    publishing = asyncio.ensure_future(publisher.publish("run-1", "a", {"number": 1}))
    await asyncio.wait({publishing}, timeout=0.3)
    assert not publishing.done()
    process.command("CONFIG", "SET", "maxmemory", "0")
    await publishing
    async with Redis.from_url(process.url) as client:
        assert await numbers(client) == [1]


@pytest.mark.parametrize(
    ("user", "message"),
    [("nobody:wrong", "refuses the gateway's credentials"), ("worker:secret", "Redis refuses")],
)
async def test_lasting_refusals_fail_at_once(
    make_publisher: MakePublisher, redis_process: StartRedis, user: str, message: str
) -> None:
    """A wrong password or a missing right is raised at once: waiting would not help."""
    process = redis_process()
    process.command("ACL", "SETUSER", "worker", "on", ">secret", "~*", "+@all", "-publish")
    publisher = make_publisher(process.url.replace("//", f"//{user}@"), deadline=10)
    began = time.monotonic()
    with pytest.raises(PublishFailed, match=message):
        await publisher.publish("run-1", "a", {})
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RedisConnectionError("refused"), True),
        (TimeoutError(), True),
        (OSError(), True),
        (BusyLoadingError("loading", status_code="LOADING"), True),
        (ReadOnlyError("a replica", status_code="READONLY"), True),
        (OutOfMemoryError("no memory", status_code="OOM"), True),
        (MasterDownError("link is down", status_code="MASTERDOWN"), True),
        (ResponseError("MISCONF cannot persist"), True),
        (ResponseError("ERR Error running script: @user_script: -READONLY You can't"), True),
        (ResponseError("WRONGTYPE no stream"), False),
        (NoPermissionError("no", status_code="NOPERM"), False),
        (AuthenticationError("no"), False),
    ],
)
def test_temporary_errors_are_known(error: Exception, expected: bool) -> None:
    """What passes by itself, as after a failover, is temporary; what an operator must correct is
    not."""
    assert is_temporary(error) is expected


def test_no_pause_passes_the_last_attempt() -> None:
    """No pause reaches beyond the last attempt, which leaves itself the time it may take."""
    deadline = RetryDeadline(0.04)
    assert deadline.pause_after(AttemptFailed("away", is_temporary=True)) <= 0.03


def test_a_last_attempt_without_an_answer_does_not_hide_that_it_is_published() -> None:
    deadline = RetryDeadline(0.04)
    deadline.pause_after(AttemptFailed("0 replicas", is_temporary=True, kind=NotReplicated))
    time.sleep(0.04)
    with pytest.raises(NotReplicated, match="0 replicas"):
        deadline.pause_after(AttemptFailed("away", is_temporary=True))
