"""The script that publishes a call over HTTP, where Redis becomes another one meanwhile."""

from collections.abc import Callable

from redis.asyncio import Redis

from gateway.bus.connection import create_redis
from gateway.bus.publishing import PublishCall, Publishing
from gateway.contract.scripts import HistoryLimits, NewEvent
from gateway.events.ids import EventId, parse_id
from gateway.metrics import Metrics
from tests.harness.history import ids, payload
from tests.harness.redis_process import RedisProcess
from tests.support import eventually


async def test_a_lagging_replica_is_promoted(redis_process: Callable[..., RedisProcess]) -> None:
    """No id is given twice, and a key that the replica has still publishes once. A call that it had
    missed is published when it comes again, as new events."""
    master = redis_process("--repl-diskless-sync-delay", "0")
    replica = redis_process("--replicaof", f"127.0.0.1 {master.port}")
    async with (
        create_redis(master.url, max_connections=2) as first,
        create_redis(replica.url, max_connections=2) as second,
    ):
        before, after = _publishing(first), _publishing(second)
        kept = await before.publish(_call("kept"))

        async def caught_up() -> bool:
            return await ids(second, "run-1") == kept.ids

        await eventually(caught_up)
        await second.execute_command("REPLICAOF", "NO", "ONE")
        # The former master takes one more before it is gone.
        lost = await before.publish(_call("lost"))
        master.kill()
        assert await after.publish(_call("kept")) == (kept.ids, True)
        assert await ids(second, "run-1") == kept.ids
        again = await after.publish(_call("lost"))
        assert not again.is_repeated
        assert await after.publish(_call("lost")) == (again.ids, True)
        new = await after.publish(_call("new"))
        assert await ids(second, "run-1") == [*kept.ids, *again.ids, *new.ids]
        given = [_parsed(one) for one in again.ids + new.ids]
        epoch = given[0].epoch
        assert given == [EventId(epoch, seq) for seq in range(1, 7)]
        assert epoch > _parsed(lost.ids[-1]).epoch


def _parsed(text: str) -> EventId:
    event_id = parse_id(text)
    assert event_id is not None
    return event_id


def _call(key: str) -> PublishCall:
    """A call of three events with this key."""
    events = [NewEvent(payload(key, n=n), "", "", "") for n in range(3)]
    return PublishCall("run-1", "acme", events, key.encode(), key)


def _publishing(redis: Redis) -> Publishing:
    return Publishing(redis, "execution:", HistoryLimits(), Metrics())
