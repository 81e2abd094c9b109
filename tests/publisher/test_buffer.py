"""The buffer: nothing waits for Redis, nothing is lost silently, the order stays."""

import asyncio
import subprocess
import sys
from collections.abc import Callable

import pytest
from redis.asyncio import Redis

from gateway.publisher import BufferFull, Publisher, PublishFailed
from tests.harness.redis_process import RedisProcess
from tests.publisher.conftest import Either, MakePublisher, numbers
from tests.support import eventually

StartRedis = Callable[..., RedisProcess]
NOWHERE = "redis://127.0.0.1:1/0"


async def test_buffered_events_are_sent_in_order(any_publisher: Either, redis: Redis) -> None:
    """What was put into the buffer is in history after a flush, in order, and the methods are the
    publisher's own."""
    for number in range(200):
        any_publisher.buffered.publish("run-1", "a", {"number": number})
    any_publisher.buffered.execution_completed("run-2")
    await any_publisher.flush(10)
    assert len(any_publisher.buffered) == 0
    assert await numbers(redis) == list(range(200))
    assert await redis.hexists("sse:{run-2}:meta", "terminal")


async def test_an_empty_buffer_is_used_again(any_publisher: Either, redis: Redis) -> None:
    """A buffer that has run empty takes more; flushing an empty one returns at once."""
    await any_publisher.flush()
    for number in range(3):
        any_publisher.buffered.publish("run-1", "a", {"number": number})
        await any_publisher.flush()
    assert await numbers(redis) == [0, 1, 2]


async def test_a_crash_of_redis_loses_and_doubles_nothing(
    make_publisher: MakePublisher, redis_process: StartRedis, caplog: pytest.LogCaptureFixture
) -> None:
    """A crash of Redis in the middle of many events neither loses, doubles nor reorders what its
    append-only file keeps, and the log tells of the wait."""
    process = redis_process("--appendonly", "yes", "--appendfsync", "always")
    publisher = make_publisher(process.url)
    for number in range(300):
        publisher.buffered.publish("run-1", "a", {"number": number})
    await eventually(lambda: len(publisher.buffered) < 250)
    process.kill()
    for number in range(300, 400):
        publisher.buffered.publish("run-1", "a", {"number": number})
    await eventually(lambda: "events wait. Redis cannot be reached" in caplog.text)
    await asyncio.to_thread(process.start)
    await publisher.flush(10)
    async with Redis.from_url(process.url) as client:
        assert await numbers(client) == list(range(400))


async def test_a_full_buffer_refuses_and_keeps_what_it_has(
    make_publisher: MakePublisher, redis_process: StartRedis
) -> None:
    """A full buffer refuses what comes, with the reason, and keeps what it has."""
    process = redis_process()
    process.kill()
    publisher = make_publisher(process.url, buffer_events=3)
    for number in range(3):
        publisher.buffered.publish("run-1", "a", {"number": number})
    with pytest.raises(BufferFull, match="3 events wait already, so this one was not added"):
        publisher.buffered.publish("run-1", "a", {"number": 3})
    with pytest.raises(PublishFailed, match=r"3 events are not sent yet.* Redis cannot be reached"):
        await publisher.flush(0.5)
    with pytest.raises(BufferFull, match="Redis cannot be reached"):
        publisher.buffered.publish("run-1", "a", {"number": 3})
    await asyncio.to_thread(process.start)
    await publisher.flush(10)
    async with Redis.from_url(process.url) as client:
        assert await numbers(client) == [0, 1, 2]


async def test_refused_events_are_tried_again(
    make_publisher: MakePublisher, redis_process: StartRedis
) -> None:
    """A buffered event that Redis refuses waits until an operator has mended that."""
    process = redis_process()
    process.command("ACL", "SETUSER", "worker", "on", ">secret", "~*", "&*", "+@all", "-evalsha")
    publisher = make_publisher(process.url.replace("//", "//worker:secret@"))
    publisher.buffered.publish("run-1", "a", {"number": 1})
    with pytest.raises(PublishFailed, match="grant its user the rights"):
        await publisher.flush(0.5)
    process.command("ACL", "SETUSER", "worker", "+evalsha")
    await publisher.flush(10)
    async with Redis.from_url(process.url) as client:
        assert await numbers(client) == [1]


async def test_close_says_what_was_not_sent(make_publisher: MakePublisher) -> None:
    """Closing says what it could not send, and nothing is taken afterwards."""
    publisher = make_publisher(NOWHERE)
    publisher.buffered.publish("run-1", "a", {})
    publisher.buffered.publish("run-1", "a", {})
    with pytest.raises(PublishFailed, match="2 events are not sent yet"):
        await publisher.close(0.1)
    with pytest.raises(PublishFailed, match="publisher is closed"):
        publisher.buffered.publish("run-1", "a", {})


async def test_a_loop_that_ends_early_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A loop that ends before its publisher is closed leaves a line about what is lost."""

    async def program() -> None:
        publisher = Publisher(NOWHERE)
        publisher.buffered.publish("run-1", "a", {})
        await asyncio.sleep(0)

    await asyncio.to_thread(asyncio.run, program())
    assert "1 events are not sent: close a publisher before its loop." in caplog.text


def run_script(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script, *arguments],
        capture_output=True,
        text=True,
        timeout=20,
    )


_ENDS_WITHOUT_CLOSE = """
import sys
from gateway.publisher import SyncPublisher

publisher = SyncPublisher(sys.argv[1], deadline=1.5)
for number in range(20):
    publisher.buffered.publish("run-1", "a", {"number": number})
"""


async def test_a_program_that_ends_flushes(redis: Redis, redis_url: str) -> None:
    """A program that ends without `close` still sends what its buffer holds, or says that it could
    not."""
    await asyncio.to_thread(run_script, _ENDS_WITHOUT_CLOSE, redis_url)
    assert await numbers(redis) == list(range(20))
    ended = await asyncio.to_thread(run_script, _ENDS_WITHOUT_CLOSE, NOWHERE)
    assert "20 events are not sent yet" in ended.stderr


_FORKS = """
import os, sys
from gateway.publisher import SyncPublisher

publisher = SyncPublisher(sys.argv[1])
waiting = SyncPublisher("redis://127.0.0.1:1/0")
publisher.publish("run-1", "a", {"number": 0})
waiting.buffered.publish("run-1", "a", {})
# Both are in the parent's hands at the moment of the fork.
with waiting.buffered._changed:
    child = os.fork()
if child == 0:
    assert len(waiting.buffered) == 0
    waiting.close()
    publisher.publish("run-1", "a", {"number": 1})
    publisher.buffered.publish("run-1", "a", {"number": 2})
    publisher.flush()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert len(waiting.buffered) == 1
publisher.publish("run-1", "a", {"number": 3})
print("done", flush=True)
os._exit(0)
"""


async def test_a_child_process_begins_empty(redis: Redis, redis_url: str) -> None:
    """After a fork parent and child go on, each with connections of its own; what waits in the
    parent's buffer stays the parent's."""
    ended = await asyncio.to_thread(run_script, _FORKS, redis_url)
    assert ended.stdout == "done\n", ended.stderr
    assert await numbers(redis) == [0, 1, 2, 3]
