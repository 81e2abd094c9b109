"""What `meta` keeps of a run beside its events: its epochs, its begin and end, and its counts."""

from redis.asyncio import Redis

from gateway.bus import scripts
from gateway.bus.epochs import Epochs
from gateway.bus.history import History
from gateway.contract.keys import events_key, meta_key
from gateway.contract.meta import RunMeta, StepEvents
from gateway.contract.scripts import HistoryLimits, publish_call
from gateway.events.ids import EventId
from gateway.publisher import Publisher
from tests.conftest import StartGateway
from tests.contract.test_side_by_side import previous_append, previous_record
from tests.harness.history import append, ids, payload, record
from tests.support import eventually, producer_message

META = meta_key("run-1")
BEGIN, END = "2025-01-31T12:00:00.000Z", "2025-01-31T12:30:00.000Z"


async def meta(redis: Redis) -> RunMeta:
    return await History(redis).meta("run-1")


async def test_epochs_are_known_with_their_last_seq(redis: Redis) -> None:
    """Present and former ones, at most 16; an id is ours if it was given, kept or not."""
    ids = Epochs(redis)
    assert await ids.look(["run-1"]) == set()
    assert not ids.is_ours("run-1", EventId(5, 1))
    given: list[EventId] = []
    for number in range(20):
        given += [await append(redis, "run-1") for _ in range(number % 3 + 1)]
        if number % 2:
            await redis.delete(events_key("run-1"))
        else:
            await redis.hset(META, "replid", "of another master")
    known = await meta(redis)
    last = {one.epoch: one.seq for one in given}
    assert list(known.epochs.items()) == list(last.items())[-16:]
    assert await ids.look(["run-1"]) == set()
    assert ids.is_ours("run-1", given[-1])
    assert not ids.is_ours("run-1", given[-1].next())
    assert not ids.is_ours("run-1", EventId(given[-1].epoch, 0))
    assert not ids.is_ours("run-1", given[0])
    assert all(ids.is_ours("run-1", one) == (one.epoch in known.epochs) for one in given)
    assert all(len(value) <= 400 for value in (await redis.hgetall(META)).values())


async def test_an_id_that_begins_its_history_needs_no_second_question(redis: Redis) -> None:
    """The first id of an epoch begins history only if nothing was kept when it was given: no event
    of a former epoch, and no entry of another program."""
    feed = Epochs(redis)
    first = await append(redis, "run-1")
    await redis.hset(META, "replid", "of another master")
    second = await append(redis, "run-1")
    await redis.xadd(events_key("run-2"), {"e": b'{"type":"step:started"}'}, id="7-1")
    foreign = await append(redis, "run-2")
    plain = await append(redis, "run-3")
    await feed.look(["run-1", "run-2", "run-3"])
    assert (second.seq, foreign.seq) == (1, 1)
    given = {"run-1": (first, second), "run-2": (foreign,), "run-3": (plain, plain.next())}
    begins = [one for name, some in given.items() for one in some if feed.begins(name, one)]
    assert begins == [plain]


async def test_begin_end_and_counts_survive_trimming(redis: Redis, redis_url: str) -> None:
    """Of a run of which most is trimmed, also over a failover, `meta` has the time of its first
    and of its terminal event, the step events by kind, and how many events are missing."""
    async with Publisher(redis_url, limits=HistoryLimits(max_bytes=2000)) as publisher:
        await publisher.publish("run-1", "run:queued", {"started_at": BEGIN})
        for number in range(30):
            if number == 10:
                await redis.hset(META, "replid", "of another master")
            await publisher.publish("run-1", "step:started", {"node_id": f"n{number}"})
            await publisher.publish("run-1", f"step:{'completed' if number % 3 else 'failed'}", {})
        await publisher.execution_completed("run-1", completed_at=END)
    known = await meta(redis)
    assert (known.first_time, known.terminal_time) == (BEGIN, END)
    assert known.steps == StepEvents(30, 20, 10)
    kept = await ids(redis, "run-1")
    page = await History(redis).page("run-1", None)
    assert page.first is not None
    assert str(page.first) == kept[0]
    assert known.missing_before(page.first) == 62 - len(kept)
    former = next(iter(known.epochs))
    assert known.missing_before(EventId(former, 5)) == 4
    assert known.missing_before(None) == 62
    assert known.missing_before(EventId(5, 1)) is None


async def test_bare_messages_are_counted(start_gateway: StartGateway, redis: Redis) -> None:
    """A gateway that records them tells the kinds and times; two of them count each once."""
    await start_gateway()
    await start_gateway()
    for event_type in ("step:started", "step:completed", "log:line", "execution:failed"):
        await redis.publish("execution:run-1", producer_message(event_type, started_at=BEGIN))

    async def counted() -> bool:
        return (await meta(redis)).steps == StepEvents(1, 1, 0)

    await eventually(counted)
    assert (await meta(redis)).first_time == BEGIN


async def tell_no_kind(redis: Redis) -> None:
    """Call the script as one does that knows nothing of the last arguments."""
    call = publish_call(
        "run-1", payload("a"), channel="execution:run-1", idempotency_key="k", terminal_type="",
        limits=HistoryLimits(),
    )  # fmt: skip
    await scripts.run(redis, call._replace(arguments=call.arguments[:-6]))


async def test_counts_are_unknown_where_somebody_does_not_tell(redis: Redis) -> None:
    """A caller that tells no kind, or an earlier release, makes the counts unknown, also in a
    following epoch of the same history; a history that begins again counts again."""
    for forget in (tell_no_kind, lambda redis: previous_record(redis, payload("a"))):
        await redis.flushdb()
        await record(redis, "run-1", payload("step:started"))
        assert (await meta(redis)).steps is not None
        await forget(redis)
        assert (await meta(redis)).steps is None
    await append(redis, "run-1")
    known = await meta(redis)
    assert known.steps is None
    assert known.missing_before(EventId(next(reversed(known.epochs)), 3)) == 2
    await redis.hset(META, "replid", "of another master")
    await append(redis, "run-1")
    assert (await meta(redis)).steps is None
    await redis.delete(events_key("run-1"))
    await append(redis, "run-1", "step:started")
    assert (await meta(redis)).steps == StepEvents(0, 0, 0)

    await redis.hset(META, "replid", "of another master")
    await previous_append(redis, payload("a"), 10**6)
    known = await meta(redis)
    assert (known.steps, known.before, known.first_time) == (None, None, None)


async def test_foreign_values_count_as_unknown(redis: Redis) -> None:
    """Whatever somebody wrote into these fields, reading and appending go on."""
    for text in ("x", "1-1:", "9" * 400, "\xff", "1 2 3"):
        await redis.hset(META, mapping=dict.fromkeys(("former", "counts", "first"), text))
        assert (await meta(redis)).steps is None
        assert (await append(redis, "run-1")).seq > 0
