"""The index of an organization's executions: who is listed, in which order, and for how long."""

from collections.abc import Sequence
from itertools import pairwise

from redis.asyncio import Redis

from gateway.bus import scripts
from gateway.contract.index import (
    Entry,
    IndexPage,
    Kind,
    Note,
    index_call,
    read_call,
    read_entry,
    read_page,
)
from gateway.contract.keys import list_about_key, list_channel, list_order_key
from gateway.contract.scripts import HistoryLimits

LIMITS = HistoryLimits()


async def write(redis: Redis, *notes: Note, most: int = 0, prefix: str = "") -> list[Entry | None]:
    call = index_call("acme", notes, limits=LIMITS, most=most, channel_prefix=prefix)
    return [read_entry(one) for one in await scripts.run(redis, call)]


async def read(redis: Redis, since: int = 0, heard_since: int = 0) -> IndexPage:
    return read_page(await scripts.run(redis, read_call("acme", since, 0, 1000, heard_since)))


async def age(redis: Redis, execution_id: str, milliseconds: int) -> None:
    """As if the last activity had been earlier."""
    await redis.zincrby(list_order_key("acme"), -milliseconds, execution_id)


async def test_an_event_is_noted_once_and_no_earlier_one_undoes_it(redis: Redis) -> None:
    """Two gateways note each event: the same event moves nothing again, an older one changes
    nothing, and within a second of the last move only a beginning or an end counts."""
    steps: Sequence[tuple[Kind, str, str, str, bool]] = [
        # kind, event, its status; what is listed then, and whether the place has moved
        ("registered", "", "", "0-0 pending", True),
        ("registered", "", "", "0-0 pending", False),
        ("now", "7-1", "", "7-1 running", True),
        ("active", "7-2", "", "7-1 running", False),
        ("now", "7-3", "paused", "7-3 paused", True),
        ("now", "7-3", "paused", "7-3 paused", False),
        ("now", "7-2", "running", "7-3 paused", False),
        ("is", "7-3", "running", "7-3 running", False),
        ("is", "7-2", "failed", "7-3 running", False),
        ("now", "7-9", "failed", "7-9 failed", True),
        ("now", "7-10", "completed", "7-10 failed", True),
        ("active", "", "", "7-10 failed", False),
        ("now", "8-1", "", "8-1 running", True),
        ("now", "7-11", "completed", "8-1 running", False),
    ]
    for kind, event_id, status, listed, has_moved in steps:
        await age(redis, "run-1", 500)
        before = await redis.zscore(list_order_key("acme"), "run-1")
        [entry] = await write(redis, Note(kind, "run-1", event_id, status, "flow 1"))
        assert entry is not None
        [kept] = (await read(redis)).entries.values()
        assert kept == entry
        assert entry.workflow_id == "flow 1"
        assert f"{entry.event_id or '0-0'} {entry.status}" == listed, (kind, event_id)
        assert (entry.active_at != before) == has_moved, (kind, event_id)
    await age(redis, "run-1", 1100)
    [entry] = await write(redis, Note("active", "run-1", "8-2"))
    assert entry is not None
    assert str(entry.event_id) == "8-2"


async def test_the_place_is_that_of_the_last_event_however_late_it_is_noted(redis: Redis) -> None:
    """Two gateways note in any order what they heard, up to seconds ago: what was active last is
    first. Nothing moves backwards, and who reads the last seconds alone learns what is older."""
    for name in ("early", "late"):
        await write(redis, Note("now", name, "7-1"))
        await age(redis, name, 6000)
    await write(redis, Note("active", "late", "7-2", age_ms=1200))
    await write(redis, Note("active", "early", "7-2", age_ms=2500))
    version = (await read(redis)).version
    # The other gateway heard one more event of one of them, and not yet the last of the other one.
    [moved] = await write(redis, Note("active", "late", "7-3", age_ms=1100))
    [kept] = await write(redis, Note("active", "early", "7-1", age_ms=0))
    page = await read(redis)
    assert list(page.entries) == ["late", "early"]
    assert (page.entries["late"], page.entries["early"]) == (moved, kept)
    assert 1000 < page.at - page.entries["late"].active_at < 2000
    assert 2400 < page.at - page.entries["early"].active_at < 3500
    [late] = await write(redis, Note("now", "late", "7-4", age_ms=9000))
    assert late is not None
    assert moved is not None
    assert late.active_at == moved.active_at
    assert version == page.version != (await read(redis)).version


async def test_what_is_no_event_changes_the_version_and_is_announced(redis: Redis) -> None:
    """A registration, a correction and a removal; an event is neither: gateways hear it anyway.
    Corrections and removals list nothing that was not listed."""
    assert await write(redis, Note("is", "run-9", "7-1", "failed")) == [None]
    steps: Sequence[tuple[Kind, str, str]] = [
        ("registered", "", ""), ("now", "7-1", ""), ("is", "7-1", "failed"), ("gone", "", ""),
        ("gone", "", ""),
    ]  # fmt: skip
    versions = [(await read(redis)).version]
    heard: list[bytes] = []
    async with redis.pubsub() as pubsub:
        await pubsub.subscribe(list_channel("execution:", "acme"))
        for kind, event_id, status in steps:
            await write(redis, Note(kind, "run-1", event_id, status), prefix="execution:")
            versions.append((await read(redis)).version)
        while (message := await pubsub.get_message(timeout=0.1)) is not None:
            heard += [message["data"]] if message["type"] == "message" else []
    assert heard == [b"changed"] * 3
    changed = [one != other for one, other in pairwise(versions)]
    assert changed == [False, False, True, True, False]
    assert (await read(redis)).total == 0


async def test_the_index_is_bounded_and_expires(redis: Redis) -> None:
    """What was active longest ago goes first, with all that is kept of it; a producer, which does
    not know the bound, keeps to the one of the gateways."""
    await write(redis, *(Note("registered", f"run-{n}") for n in range(20)), most=1000)
    for n in range(20):
        await age(redis, f"run-{n}", 100 - n)
    await write(redis, Note("now", "run-3", "7-1"), most=5)
    await write(redis, Note("registered", "run-new"))
    page = await read(redis)
    assert set(page.entries) == {"run-new", "run-3", "run-19", "run-18", "run-17"}
    names = {name for name in await redis.hkeys(list_about_key("acme")) if name[:1] != b"!"}
    assert names == {name.encode() for name in page.entries}
    assert 0 < await redis.pttl(list_about_key("acme")) <= LIMITS.open_ttl_ms
    await age(redis, "run-19", LIMITS.open_ttl_ms + 1000)
    await write(redis, Note("now", "run-3", "7-2"))
    assert (await read(redis)).total == 4
    recent = await read(redis, since=page.entries["run-new"].active_at)
    assert set(recent.entries) == {"run-new", "run-3"}


async def test_one_gateway_looks_up_all_after_each_time_that_nobody_listened(
    redis: Redis,
) -> None:
    """And once a minute what is silent; who does not hear events yet is asked nothing, and an index
    of nothing is not begun by a question."""
    assert (await read(redis, heard_since=1)).sweep == "none"
    assert not await redis.exists(list_about_key("acme"))
    await write(redis, Note("registered", "run-1"))
    now = (await read(redis)).at
    sweeps = [(await read(redis, heard_since=since)).sweep for since in (0, now, now - 9, now - 9)]
    assert sweeps == ["none", "all", "none", "none"]
    swept = int((await redis.hget(list_about_key("acme"), "!swept")) or 0)
    # The other one has begun to hear since.
    assert (await read(redis, heard_since=swept + 1)).sweep == "all"
    for swept, sweep in ((now - 61_000, "stale"), (now + 10**6, "all")):
        await redis.hset(list_about_key("acme"), "!swept", swept)
        assert (await read(redis, heard_since=now - 70_000)).sweep == sweep
