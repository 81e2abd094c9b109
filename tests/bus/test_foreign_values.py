"""Values in Redis that nobody of us wrote: one execution is refused, and all else goes on."""

import asyncio
import hashlib
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from gateway.bus import registry, scripts
from gateway.bus.history import History
from gateway.bus.questions import Question, Questions
from gateway.bus.registry import Registry, register
from gateway.bus.revocations import MEMBERS_KEY, VERSION_KEY
from gateway.bus.stream_counts import stream_counts_call, stream_counts_key
from gateway.contract import keys
from gateway.contract.scripts import HistoryLimits
from gateway.errors import RedisUnavailable
from gateway.events.ids import EventId
from tests.conftest import RunningGateway, StartGateway, credentials
from tests.harness.history import append, ids, payload, record
from tests.harness.sse import SseReader
from tests.harness.ticking import ticking
from tests.support import eventually, producer_message

BAD, GOOD = "bad", "good"
TICKET = "t" * 43
META = keys.meta_key(BAD)
EVENTS = keys.events_key(BAD)
MESSAGE = payload("step:started", n=0)
DIGEST = hashlib.blake2b(MESSAGE, digest_size=16).digest()
ONCE = keys.once_key(BAD, "k")

META_FIELDS = [
    "organization_id", "workflow_id", "epoch", "seq", "replid", "bytes", "trimmed", "terminal",
    "terminal_type",
]  # fmt: skip

KEYS = [
    META, EVENTS, keys.seen_key(BAD), keys.order_key(BAD), "answer", ONCE,
    keys.ticket_key(hashlib.sha256(TICKET.encode()).hexdigest()), stream_counts_key("other"),
    MEMBERS_KEY, VERSION_KEY,
]  # fmt: skip
"""All that a gateway reads and that an execution, a user or an organization has of its own; and
the revocations of all."""

# As msgpack: numbers, a nested table, one of ours with values of other kinds.
PACKED = [
    b"\x05", b"\xc0", b"\x91\x91\x91\x01",
    b"\x84\xa4gone\x01\xa3ids\xa1x\xa5times\x90\xa6counts\x80",
    b"\x84\xa4gone\x00\xa3ids\x91\x05\xa5times\x91\xc3\xa6counts\x80",
    b"\x82\xa5batch\xa11\xa3ids\x92\x01\x02", b"\x82\xa5batch\xa11\xa3ids\x90",
]  # fmt: skip

VALUES = st.one_of(
    st.sampled_from(
        [
            b"", b"abc", b"-1", b"0", b"1", b"1e308", b"nan", b"inf", b"0x10", b"1.5", b"9" * 15,
            b"9" * 30, b"9" * 5000, b"\xff\xfe", b"5-1", b"0-0", b"9" * 30 + b"-1",
            b"1-" + b"9" * 30,
            b"18446744073709551615-18446744073709551615", b"execution:\xff", b"other", b"1:9",
            b"9999999999999:99999999999999999999", b"x" * 200_000, b"[]", b"null", b'{"type":1}',
            *PACKED,
        ]
    ),
    st.binary(max_size=40),
)  # fmt: skip

WRITES = st.one_of(
    st.tuples(st.just("HSET"), st.just(META), st.sampled_from(META_FIELDS), VALUES),
    st.tuples(st.just("HDEL"), st.just(META), st.sampled_from(META_FIELDS)),
    st.tuples(st.just("HSET"), st.just(keys.seen_key(BAD)), st.just(DIGEST), VALUES),
    st.tuples(st.just("HSET"), st.just(stream_counts_key("other")), VALUES, VALUES),
    st.tuples(st.just("LPUSH"), st.just(keys.order_key(BAD)), VALUES),
    st.tuples(
        st.just("XADD"), st.just(EVENTS), st.just("*"), st.sampled_from(["event", "x"]), VALUES
    ),
    st.tuples(
        st.just("XADD"), st.just(EVENTS), st.sampled_from(["9999999999999-1", "1" * 20 + "-1"]),
        st.just("bytes"), VALUES, st.just("event"), VALUES,
    ),
    st.tuples(st.just("XTRIM"), st.just(EVENTS), st.just("MAXLEN"), st.integers(0, 3)),
    # Keys of every other kind.
    st.tuples(st.just("SET"), st.sampled_from(KEYS), VALUES),
    st.tuples(st.just("HSET"), st.sampled_from(KEYS), VALUES, VALUES),
    st.tuples(st.just("RPUSH"), st.sampled_from(KEYS), VALUES),
    st.tuples(st.just("SADD"), st.sampled_from(KEYS), VALUES),
    st.tuples(
        st.just("ZADD"), st.sampled_from(KEYS), st.sampled_from(["-inf", "inf", "1"]), VALUES
    ),
    st.tuples(st.just("DEL"), st.sampled_from(KEYS)),
)  # fmt: skip


class Bystander:
    """A gateway, a stream of another organization on it, and the garbage beside it."""

    def __init__(self, gateway: RunningGateway, redis: Redis, stream: SseReader) -> None:
        self._gateway = gateway
        self._redis = redis
        self._stream = stream
        self._number = 0

    async def stand(self, writes: list[tuple[Any, ...]]) -> None:
        await self._prepare()
        for command, key, *arguments in writes:
            # A command of another kind than the key is no less foreign when it comes first.
            if command in ("SET", "RPUSH", "SADD", "ZADD") or key == "answer":
                key = await self._named(key)
                await self._redis.delete(key)
            try:
                await self._redis.execute_command(command, key, *arguments)
            except ResponseError:
                continue
        # No stream opens while revocations cannot be read; open ones stay.
        unread = any(write[1] in (MEMBERS_KEY, VERSION_KEY) for write in writes)
        await self._go_on(allowed={200, 503} if unread else {200})
        await self._redis.delete(MEMBERS_KEY, VERSION_KEY, stream_counts_key("other"))

    async def _prepare(self) -> None:
        """An execution with a history as a gateway and a publisher write it."""
        stale = await self._redis.keys("sse:{bad}:*")
        await self._redis.delete(MEMBERS_KEY, VERSION_KEY, *stale)
        await register(self._redis, BAD, "other")
        await append(self._redis, BAD, key="k")
        await self._redis.publish(f"execution:{BAD}", MESSAGE)
        await eventually(lambda: self._redis.keys("sse:{bad}:answer:*"))

    async def _named(self, key: str) -> str | bytes:
        if key != "answer":
            return key
        found = await self._redis.keys("sse:{bad}:answer:*")
        return found[0] if found else f"{ONCE}:none"

    async def _go_on(self, allowed: set[int]) -> None:
        """All that reads those keys; the other organization's stream and poll are as ever."""
        components = self._gateway.components
        self._number += 1
        components.auditor.subscribed()
        components.auditor.silent(BAD)
        await self._redis.publish(f"execution:{BAD}", MESSAGE)
        for work in (append(self._redis, BAD, key="k"), append(self._redis, BAD)):
            with_garbage = await asyncio.gather(work, return_exceptions=True)
            assert isinstance(with_garbage[0], tuple | ResponseError | AssertionError)
        await self._redis.publish(
            f"execution:{GOOD}", producer_message("step:started", n=self._number)
        )
        asked = [self._status(url, params) for url, params in self._requests()]
        poll = f"{self._gateway.url}/api/v1/workflows/-/runs/{GOOD}"
        *statuses, good = await asyncio.gather(*asked, self._status(poll, None, "acme"))
        assert set(statuses) <= {200, 204, 401, 404, 503}
        assert good in allowed
        seen = await self._stream.expect("step:started")
        assert seen.json()["data"]["n"] == self._number
        assert components.supervisor.failures == {}

    def _requests(self) -> list[tuple[str, dict[str, str] | None]]:
        stream = self._gateway.stream_url(BAD)
        return [
            (stream, None),
            (stream, {"last_event_id": "5-1"}),
            (stream, {"ticket": TICKET}),
            (f"{self._gateway.url}/api/v1/workflows/-/runs/{BAD}", {"include_logs": "true"}),
        ]

    async def _status(
        self, url: str, params: dict[str, str] | None, organization: str = "other"
    ) -> int:
        headers = {} if params and "ticket" in params else credentials(organization)
        async with self._gateway.session.get(url, params=params, headers=headers) as response:
            # The head is enough: a stream would go on for as long as we stay.
            return response.status


@pytest.fixture
async def bystander(
    start_gateway: StartGateway, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> Bystander:
    monkeypatch.setattr(registry.UnregisteredWatch.__init__, "__defaults__", (0.05,))
    gateway = await start_gateway(ownership_wait_seconds=0.3, max_opens_per_second=1000)
    await register(redis, GOOD, "acme")
    return Bystander(gateway, redis, await gateway.open(GOOD))


@pytest.mark.fuzz
@given(writes=st.lists(WRITES, min_size=1, max_size=5))
@settings(
    deadline=None,
    # An example takes a tenth of a second.
    max_examples=settings().max_examples // 4,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
async def test_garbage_harms_no_other_organization(
    bystander: Bystander, writes: list[tuple[Any, ...]]
) -> None:
    """Whatever the keys of one execution hold, and in those of its organization: no background
    task dies, no request is a 500, and another organization's stream and poll are served."""
    await bystander.stand(writes)


async def test_keys_of_another_kind_harm_no_other(bystander: Bystander) -> None:
    """Each key alone, as a string, a list and a hash."""
    for key in KEYS:
        for write in (("SET", key, b"abc"), ("RPUSH", key, b"1"), ("HSET", key, "a", "b")):
            await bystander.stand([("DEL", key), write])


async def test_foreign_meta_fields_harm_no_other(bystander: Bystander) -> None:
    """Each field of `meta` alone."""
    for field in META_FIELDS:
        for value in (b"abc", b"\xff\xfe", b"9" * 30, b"-1"):
            await bystander.stand([("HSET", META, field, value)])


async def test_a_foreign_position_is_refused_alone(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """Of the executions compared in one round trip, the one whose `meta` makes no sense is refused
    alone, and the log says which and why, once."""
    last = await append(redis, GOOD)
    await redis.hset(META, mapping={"epoch": "abc", "seq": "1"})
    await redis.set(keys.meta_key("worse"), "a string")
    history = History(redis)
    found: dict[str, EventId | None] = {}

    def ask() -> list[Question]:
        names = (BAD, GOOD, "worse", "none")
        return [history.last_id(one, partial(found.__setitem__, one)) for one in names]

    async with ticking() as ticker:
        questions = Questions(redis, ticker)
        questions.add("test", ask)
        for _ in range(3):
            found.clear()
            questions.send_now()
            await eventually(lambda: len(found) == 2)
            assert found == {GOOD: last, "none": None}
    [line] = [one.message for one in caplog.records]
    assert f"The history of {BAD} cannot be read" in line
    assert "delete or correct" in line


async def test_an_owner_that_is_no_text_is_nobody(redis: Redis) -> None:
    """An owner that is no UTF-8 is not taken for the organization named like its repaired text."""
    await redis.hset(META, "organization_id", b"acme\xff")
    registry = Registry(redis)
    with pytest.raises(RedisUnavailable):
        await registry.owner(BAD)


async def test_a_key_of_another_kind_is_not_registered(redis: Redis) -> None:
    """A key of another kind keeps none of those asked for along with it from their answer."""
    await register(redis, GOOD, "acme")
    await redis.set(META, "abc")
    answers = await Registry(redis).keep_registered([BAD, GOOD, "none"], HistoryLimits())
    assert answers == {BAD: False, GOOD: True, "none": False}


@pytest.mark.parametrize("field", ["epoch", "seq", "bytes"])
async def test_append_over_a_foreign_number_loses_nothing(redis: Redis, field: str) -> None:
    """A number in `meta` that is none begins a new epoch, and nothing that was kept is lost."""
    first = await append(redis, BAD)
    await redis.hset(META, field, "1e308")
    second = await append(redis, BAD)
    assert (second.epoch > first.epoch, second.seq) == (True, 1)
    assert await ids(redis, BAD) == [str(first), str(second)]


async def test_append_after_a_foreign_entry_begins_an_epoch(redis: Redis) -> None:
    """An entry that somebody else has added with a later id does not end the recording: an epoch
    after it begins, once. Behind the last possible id there is no room, and the error says so."""
    first = await append(redis, BAD)
    await redis.xadd(EVENTS, {"x": "y"}, id=f"{first.epoch + 5_000_000}-1")
    second, third = [await append(redis, BAD) for _ in range(2)]
    assert second.epoch > first.epoch + 5_000_000
    assert third == second.next()
    await redis.xadd(EVENTS, {"x": "y"}, id="18446744073709551615-1")
    with pytest.raises(ResponseError, match="FOREIGN no event can follow"):
        await append(redis, BAD)


async def test_recorded_once_where_the_order_is_foreign(redis: Redis) -> None:
    """What must be refused is refused before anything is appended: no retry appends again."""
    await redis.set(keys.order_key(BAD), "abc")
    for _ in range(3):
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            await record(redis, BAD, payload("a"))
    assert await ids(redis, BAD) == []


async def test_foreign_entries_are_trimmed_first(redis: Redis) -> None:
    """Entries without the field `bytes` do not keep a history from being trimmed: they go first."""
    for number in range(3):
        await redis.xadd(EVENTS, {"x": "y"}, id=f"5-{number + 1}")
    for number in range(20):
        await append(redis, BAD, limits={"max_bytes": 300}, n=number)
    found = await ids_of_all(redis)
    assert "5-1" not in found
    assert 3 < len(found) < 12


async def ids_of_all(redis: Redis) -> list[str]:
    entries: Any = await redis.xrange(EVENTS)
    return [event_id.decode() for event_id, _ in entries]


async def test_a_foreign_lease_is_not_counted(redis: Redis) -> None:
    """A lease that no gateway has given is not counted: nobody is kept out by it."""
    await redis.hset(stream_counts_key("other"), "x", "99999:9999999999999999")
    call = stream_counts_call("other", instance="i", streams=0, wanted=2, limit=5, lease_ms=15_000)
    assert await scripts.run(redis, call) == 2
