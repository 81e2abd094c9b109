"""The scripts that keep history: ids, epochs, bounds, the end, and one id for all instances."""

import pytest
from redis.asyncio import Redis

from gateway.bus import scripts
from gateway.bus.history import History
from gateway.contract.scripts import read_call
from gateway.events.ids import EventId
from tests.harness.history import append, ids, kept, payload, record
from tests.harness.redis_process import RedisProcess
from tests.support import DEADLINE, eventually

META = "sse:{run-1}:meta"
EVENTS = "sse:{run-1}:events"


async def test_ids_have_no_holes(redis: Redis) -> None:
    """Within an epoch the seq counts 1, 2, 3 and the epoch stays."""
    given = [await append(redis, "run-1", n=n) for n in range(5)]
    assert [one.seq for one in given] == [1, 2, 3, 4, 5]
    assert len({one.epoch for one in given}) == 1
    assert await ids(redis, "run-1") == [str(one) for one in given]


async def test_appended_and_published_in_one_step(redis: Redis) -> None:
    """The published envelope carries the id under which history holds the event."""
    async with redis.pubsub() as pubsub:
        await pubsub.psubscribe("execution:*")
        await pubsub.get_message(timeout=DEADLINE)
        event_id = await append(redis, "run-1", n=1)
        message = await pubsub.get_message(timeout=DEADLINE)
    assert message is not None
    assert (
        message["data"]
        == b'{"id":"%b",' % str(event_id).encode() + payload("step:started", n=1)[1:]
    )
    assert await kept(redis) == [(str(event_id), payload("step:started", n=1))]


async def test_a_known_idempotency_key_appends_nothing(redis: Redis) -> None:
    """A repeated key gets the id it got before, and nothing is appended or published again."""
    first = await append(redis, "run-1", key="k", n=1)
    assert await append(redis, "run-1", key="k", n=1) == first
    assert await append(redis, "run-1", key="other", n=1) != first
    assert len(await ids(redis, "run-1")) == 2


async def test_a_new_epoch_where_no_history_is(redis: Redis) -> None:
    """When history is gone the next event begins a new epoch, whose epoch is a greater one even if
    the clock is behind."""
    before = await append(redis, "run-1")
    await redis.delete(EVENTS)
    after = await append(redis, "run-1")
    assert after.seq == 1
    assert after.epoch > before.epoch
    await redis.delete(EVENTS)
    await redis.hset(META, "epoch", 99999999999999)
    assert await append(redis, "run-1") == EventId(100000000000000, 1)


async def test_a_new_epoch_when_meta_is_lost(redis: Redis) -> None:
    """Also when only `meta` was lost, and the clock is behind what history holds."""
    await redis.xadd(EVENTS, {"event": payload("a"), "bytes": 1}, id="99999999999999-7")
    assert await append(redis, "run-1") == EventId(100000000000000, 1)


async def test_a_new_epoch_on_another_master(redis_process: object) -> None:
    """A restarted Redis that kept its data is not the same any more: a new epoch begins, and what
    was kept is still read, in order."""
    process = redis_process("--appendonly", "yes", "--appendfsync", "always")  # type: ignore[operator]
    assert isinstance(process, RedisProcess)
    async with Redis.from_url(process.url) as client:
        before = [await append(client, "run-1", n=n) for n in range(3)]
    process.kill()
    process.start()
    async with Redis.from_url(process.url) as client:
        after = await append(client, "run-1", n=3)
        assert after.epoch > before[-1].epoch
        assert after.seq == 1
        page = await History(client).page("run-1", before[1])
        assert page.cursor_status == "valid"
        assert [entry.id for entry in page.entries] == [before[2], after]


async def test_the_first_terminal_event_wins(redis: Redis) -> None:
    """`meta` keeps the first terminal event, and a later one changes nothing."""
    end = await append(redis, "run-1", "execution:failed")
    await append(redis, "run-1", "execution:completed")
    assert await redis.hget(META, "terminal") == str(end).encode()
    assert await redis.hget(META, "terminal_type") == b"execution:failed"


async def test_keys_expire_as_the_limits_say(redis: Redis) -> None:
    """Until the end, history and `meta` live for the open time, renewed by every event; after it
    history for its own time and `meta` for 7 days."""
    limits = {"open_ttl_ms": 50_000_000, "history_ttl_ms": 20_000_000}
    await append(redis, "run-1", limits=limits)
    assert 49_000_000 < await redis.pttl(EVENTS) <= 50_000_000
    assert 49_000_000 < await redis.pttl(META) <= 50_000_000
    await append(redis, "run-1", "execution:completed", limits=limits)
    await append(redis, "run-1", limits=limits)
    assert 19_000_000 < await redis.pttl(EVENTS) <= 20_000_000
    assert 600_000_000 < await redis.pttl(META) <= 7 * 86_400_000


async def test_bounded_by_events(redis: Redis) -> None:
    """History keeps about as many events as allowed."""
    for number in range(500):
        await append(redis, "run-1", limits={"max_events": 100}, n=number)
    assert 100 <= await redis.xlen(EVENTS) <= 200


async def test_bounded_by_bytes(redis: Redis) -> None:
    """History keeps at most as many bytes as allowed, and always the last event."""
    for number in range(30):
        await append(redis, "run-1", limits={"max_bytes": 1000}, n=number, text="x" * 200)
    sizes = [len(event) for _, event in await kept(redis)]
    assert 1000 - max(sizes) < sum(sizes) <= 1000
    await append(redis, "run-1", limits={"max_bytes": 1000}, text="x" * 5000)
    assert await redis.xlen(EVENTS) == 1


async def test_instances_agree(redis: Redis) -> None:
    """Two instances that see the same bare messages get one id for each, in any mixture, and a
    payload that was published twice is kept twice."""
    a, b = payload("a"), payload("b")
    one = await record(redis, "run-1", a, b, a, instance="one", batch=1)
    two = await record(redis, "run-1", a, instance="two", batch=1)
    two += await record(redis, "run-1", b, a, a, instance="two", batch=2)
    one += await record(redis, "run-1", a, instance="one", batch=2)
    assert one == two
    assert len(set(one)) == 4
    assert len(await ids(redis, "run-1")) == 4


async def test_a_repeated_batch(redis: Redis) -> None:
    """A batch whose answer was lost is answered as before, and nothing is recorded twice."""
    first = await record(redis, "run-1", payload("a"), payload("a"), batch=7)
    assert await record(redis, "run-1", payload("a"), payload("a"), batch=7) == first
    assert len(await ids(redis, "run-1")) == 2


async def test_a_new_subscription_skips_what_it_cannot_have_seen(redis: Redis) -> None:
    """An instance that subscribed after a payload was recorded takes its first sighting of that
    payload for a new event; one that subscribed before, for the recorded one."""
    [old] = await record(redis, "run-1", payload("a"))
    seconds, microseconds = await redis.time()
    since = seconds * 10**6 + microseconds
    assert await record(redis, "run-1", payload("a"), instance="old", since=0) == [old]
    [new] = await record(redis, "run-1", payload("a"), instance="new", since=since)
    assert new != old


async def test_memory_of_bare_messages_is_bounded(redis: Redis) -> None:
    """What the recorder remembers of an execution does not grow without end."""
    for batch in range(30):
        messages = [payload("a", n=n, batch=batch) for n in range(100)]
        await record(redis, "run-1", *messages, batch=batch)
    assert await redis.hlen("sse:{run-1}:seen") == 2000
    assert await redis.llen("sse:{run-1}:order") == 2000


async def test_pages_follow_one_another(redis: Redis) -> None:
    """A page is bounded by bytes, the next one begins where it ended, and all of them together
    are the history."""
    given = [await append(redis, "run-1", n=n, text="x" * 100_000) for n in range(25)]
    history = History(redis)
    found: list[EventId] = []
    cursor = None
    pages = 0
    more = True
    while more:
        page = await history.page("run-1", cursor)
        assert sum(len(entry.payload) for entry in page.entries) <= 1024 * 1024
        found += [entry.id for entry in page.entries]
        cursor, more = found[-1], page.more
        pages += 1
    assert found == given
    assert pages == 3


async def test_page_ends_at_the_terminal_event(redis: Redis) -> None:
    """What follows the terminal event is kept, and never given to a stream."""
    await append(redis, "run-1")
    end = await append(redis, "run-1", "execution:completed")
    await append(redis, "run-1")
    page = await History(redis).page("run-1", None)
    assert page.entries[-1].id == page.terminal == end
    assert page.terminal_kept
    assert not page.more
    assert len(await ids(redis, "run-1")) == 3


@pytest.mark.parametrize(
    ("cursor", "cursor_status", "expected"),
    [
        (EventId(5, 3), "valid", [4, 5]),
        (EventId(5, 5), "valid", []),
        (EventId(5, 6), "reset", [3, 4, 5]),
        (EventId(5, 1), "gap", [3, 4, 5]),
        (EventId(4, 3), "reset", [3, 4, 5]),
        (EventId(6, 1), "reset", [3, 4, 5]),
        (None, "start", [3, 4, 5]),
    ],
)
async def test_cursor_status(
    redis: Redis, cursor: EventId | None, cursor_status: str, expected: list[int]
) -> None:
    """A cursor is valid only if its entry is kept; before what is kept, in the same epoch, it
    is a gap; anything else is a reset, and the whole history is given."""
    for seq in (3, 4, 5):
        await redis.xadd(EVENTS, {"event": payload("a"), "bytes": 1}, id=f"5-{seq}")
    page = await History(redis).page("run-1", cursor)
    assert page.cursor_status == cursor_status
    assert [entry.id.seq for entry in page.entries] == expected


async def test_script_cache_may_be_lost(redis: Redis) -> None:
    """A Redis that does not know the scripts (any more) gets them, alone and in a pipeline."""
    await append(redis, "run-1")
    await redis.script_flush()
    await append(redis, "run-1")
    await redis.script_flush()
    answers = await scripts.run_all(redis, [read_call("run-1", "", 1000) for _ in range(3)])
    assert [answer[0] for answer in answers] == [b"start"] * 3


async def test_lagging_replica_promoted(redis_process: object) -> None:
    """A promoted replica that had missed the last writes never gives one id to two events."""
    master = redis_process()  # type: ignore[operator]
    replica = redis_process("--replicaof", f"127.0.0.1 {master.port}")  # type: ignore[operator]
    async with Redis.from_url(master.url) as first, Redis.from_url(replica.url) as second:
        kept = [await append(first, "run-1", n=n) for n in range(5)]

        async def caught_up() -> bool:
            return await ids(second, "run-1") == [str(one) for one in kept]

        await eventually(caught_up)
        replica.suspend()
        lost = [await append(first, "run-1", n=n) for n in range(5, 12)]
        master.kill()
        replica.resume()
        await second.execute_command("REPLICAOF", "NO", "ONE")
        left = [EventId(*map(int, one.split("-"))) for one in await ids(second, "run-1")]
        new = [await append(second, "run-1", n=n) for n in range(20, 26)]
        assert not set(new) & set(lost)
        assert not set(new) & set(left)
        assert {one.epoch for one in new} != {kept[0].epoch}
        assert new[0].seq == 1


@pytest.mark.parametrize("owner", ["another", None], ids=["another's", "nobody's"])
@pytest.mark.parametrize("cursor", ["", "valid", "1-1"])
async def test_a_page_of_anothers_execution_is_never_read(
    redis: Redis, owner: str | None, cursor: str
) -> None:
    """The script compares the organization first: where another one owns the execution, or nobody,
    it says only that, and looks at no event."""

    async def looks_at_history() -> int:
        stats = await redis.info("commandstats")
        return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("xrange", "xlen"))

    first = await append(redis, "run-1", n=1)
    await append(redis, "run-1", "execution:completed")
    if owner is not None:
        await redis.hset(META, "organization_id", owner)
    cursor = str(first) if cursor == "valid" else cursor
    before = await looks_at_history()
    call = read_call("run-1", cursor, 1000, organization_id="acme")
    assert await scripts.run(redis, call) == [b"foreign"]
    assert await looks_at_history() == before
    await redis.hset(META, "organization_id", "acme")
    assert len(await scripts.run(redis, call)) > 7
    assert await looks_at_history() > before
