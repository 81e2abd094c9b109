"""What a page of history costs: no payload is copied that is not answered."""

from dataclasses import dataclass

import pytest
from redis.asyncio import Redis

from gateway.bus.history import PAGE_BYTES, History
from gateway.contract.keys import events_key, meta_key
from gateway.contract.scripts import PUBLISH, READ, HistoryLimits, Script, publish_call, read_call
from gateway.events.ids import EventId
from tests.harness.history import append, ids

LARGE = 900_000
MEBIBYTE = 1024 * 1024

# Around a script: counts all bytes that Redis hands it.
COUNTING = """
local real, copied = redis, 0
local function count(value)
  if type(value) == 'string' then copied = copied + #value
  elseif type(value) == 'table' then for _, one in pairs(value) do count(one) end end
  return value
end
local redis = setmetatable({ call = function(...) return count(real.call(...)) end,
  pcall = function(...) return count(real.pcall(...)) end }, { __index = real })
local function script()
%s
end
local answer = script()
return { copied, answer }
"""


@dataclass
class Cost:
    copied: int
    """Bytes that Redis has handed to the script."""
    answered: int
    """Bytes of the events of the page."""
    cursor_status: bytes


async def cost_of(redis: Redis, script: Script, cursor: str, *, only_valid: bool = False) -> Cost:
    _, keys, arguments = read_call("run-1", cursor, PAGE_BYTES, only_valid=only_valid)
    text = COUNTING % script.text
    copied, page = await redis.eval(text, len(keys), *keys, *arguments)
    return Cost(copied, sum(map(len, page[10:])), page[0])


async def fill(redis: Redis, sizes: list[int]) -> list[EventId]:
    """A history of events with about so many bytes each."""
    limits = {"max_bytes": 64 * MEBIBYTE}
    return [
        await append(redis, "run-1", limits=limits, n=number, text="x" * size)
        for number, size in enumerate(sizes)
    ]


# How large the events of a history are, one after the other.
HISTORIES = {
    "large": [LARGE] * 8,
    "small": [200] * 300,
    "small, then large": [100] * 60 + [LARGE] * 6,
    "a large one at times": ([100] * 20 + [LARGE]) * 4,
    "above half a page": [600_000] * 6,
}


@pytest.mark.parametrize("sizes", HISTORIES.values(), ids=HISTORIES)
async def test_a_page_copies_little_more_than_itself(redis: Redis, sizes: list[int]) -> None:
    """From the start and after every cursor of the present epoch, Redis copies what it answers and
    the one event that does not fit any more."""
    given = await fill(redis, sizes)
    one_more = max(sizes) + 100
    cursors = [None, *given[:3], *given[len(given) // 2 :: 7], *given[-7:]]
    for cursor in cursors:
        cost = await cost_of(redis, READ, str(cursor or ""))
        assert cost.cursor_status == (b"start" if cursor is None else b"valid")
        allowed = cost.answered + one_more + 60 * len(sizes) + 1000
        assert cost.copied <= allowed, (cursor, cost)


async def test_an_empty_answer_copies_nothing(redis: Redis) -> None:
    """A reader that has all of it, and one whose cursor is invented, cost no payload at all; nor
    does the end, whose event is kept."""
    given = await fill(redis, [LARGE] * 4)
    end = await append(redis, "run-1", "execution:completed", text="x" * LARGE)
    await append(redis, "run-1", text="x" * LARGE)
    last = EventId(end.epoch, end.seq + 1)
    assert (await cost_of(redis, READ, str(last))).copied < 1000
    for cursor in (f"{given[0].epoch}-99", "5-3", "9999999999999-1", f"{given[0].epoch}-0"):
        cost = await cost_of(redis, READ, cursor, only_valid=True)
        assert (cost.cursor_status, cost.answered) == (b"reset", 0)
        assert cost.copied < 1000
    assert (await History(redis).page("run-1", given[-1])).entries[-1].id == end


async def test_a_former_epoch_costs_one_entry(redis: Redis) -> None:
    """Where an epoch before the current one is kept, the entries that are read for their ids alone
    are three at most: the first, the end and the cursor's."""
    given = await fill(redis, [LARGE] * 3)
    await redis.hset(meta_key("run-1"), "replid", "of another master")
    later = await fill(redis, [LARGE] * 3)
    for cursor in (*given, *later):
        cost = await cost_of(redis, READ, str(cursor))
        assert cost.cursor_status == b"valid"
        assert cost.copied <= cost.answered + 4 * LARGE
    page = await History(redis).page("run-1", given[1])
    assert [page.first, page.entries[0].id] == [given[0], given[2]]


async def test_counted_as_it_is(redis: Redis) -> None:
    """What is told by counting is what stands in Redis, also where the front was trimmed."""
    limits = {"max_bytes": 3000}
    given = [await append(redis, "run-1", limits=limits, n=n, text="x" * 500) for n in range(40)]
    kept = await ids(redis, "run-1")
    assert 3 <= len(kept) <= 6
    for cursor in given:
        page = await History(redis).page("run-1", cursor)
        assert page.cursor_status == ("valid" if str(cursor) in kept else "gap")
        assert str(page.first) == kept[0]
    await redis.delete(events_key("run-1"))
    assert (await History(redis).page("run-1", given[-1])).cursor_status == "reset"


async def test_an_event_that_was_deleted(redis: Redis) -> None:
    """Where somebody has taken events out of the middle, a cursor that is kept is valid still,
    and what is kept follows it."""
    given = await fill(redis, [10] * 8)
    await redis.xdel(events_key("run-1"), str(given[2]), str(given[3]), str(given[4]))
    for place in (0, 1, 5, 6, 7):
        page = await History(redis).page("run-1", given[place])
        assert page.cursor_status == "valid"
        assert [one.id for one in page.entries] == [
            one for one in given[place + 1 :] if one not in given[2:5]
        ]


async def test_an_append_copies_no_entry(redis: Redis) -> None:
    """An event that is appended to a full history of large ones costs no copy of one; each that
    must go is copied once."""
    limits = HistoryLimits(max_bytes=3 * MEBIBYTE)
    for _ in range(6):
        await append(redis, "run-1", limits={"max_bytes": 3 * MEBIBYTE}, text="x" * LARGE)
    copied = []
    for number in range(20):
        _, keys, arguments = publish_call(
            "run-1", b'{"type":"a"}', channel="execution:run-1", idempotency_key=str(number),
            terminal_type="", limits=limits,
        )  # fmt: skip
        answer = await redis.eval(COUNTING % PUBLISH.text, len(keys), *keys, *arguments)
        copied.append(answer[0])
    assert sum(one > LARGE for one in copied) <= 1, copied
    assert await redis.xlen(events_key("run-1")) >= 22
