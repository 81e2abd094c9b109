"""One event: in history and on the channel at once, once, or refused before it is sent."""

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState, use_span
from redis.asyncio import Redis

from gateway.contract.scripts import HistoryLimits
from gateway.errors import ConfigurationError
from gateway.publisher import EventRefused, EventTooLarge, Publisher, SyncPublisher
from gateway.settings import Settings
from tests.harness.history import kept
from tests.harness.redis_process import RedisProcess
from tests.publisher.conftest import Either, MakePublisher, numbers


async def test_history_and_channel_have_the_same_id(any_publisher: Either, redis: Redis) -> None:
    """The id that is returned is the one in history and the one in the envelope on the channel,
    which is otherwise the payload in history."""
    async with redis.pubsub() as channel:
        await channel.subscribe("execution:run-1")
        await channel.get_message(timeout=5)
        returned = [
            await any_publisher.publish("run-1", "step:started", {"number": n}) for n in range(3)
        ]
        published = [(await channel.get_message(timeout=5))["data"] for _ in range(3)]
    entries = await kept(redis)
    epoch = returned[0].partition("-")[0]
    assert returned == [f"{epoch}-{seq}" for seq in (1, 2, 3)]
    assert [event_id for event_id, _ in entries] == returned
    assert published == [
        b'{"id":"%b",%b' % (event_id.encode(), payload[1:]) for event_id, payload in entries
    ]


@pytest.mark.one_server
async def test_an_event_costs_one_command(publisher: Either, redis: Redis) -> None:
    """An event costs one command."""
    await publisher.publish("run-1", "a", {})
    await redis.config_resetstat()
    for _ in range(10):
        await publisher.publish("run-1", "a", {})
    used = await redis.info("commandstats")
    assert used["cmdstat_evalsha"]["calls"] == 10
    in_script = {"get", "set", "hget", "hmget", "hset", "hexists", "info", "exists", "xadd"}
    in_script |= {"pexpire", "publish", "config|resetstat", "evalsha"}
    assert {name.removeprefix("cmdstat_") for name in used} <= in_script


async def test_a_redis_without_the_script_is_sent_it(publisher: Either, redis: Redis) -> None:
    """A Redis that has forgotten the script, as a promoted replica may, is sent it."""
    await publisher.publish("run-1", "a", {"number": 1})
    await redis.script_flush()
    await publisher.publish("run-1", "a", {"number": 2})
    assert await numbers(redis) == [1, 2]


async def test_a_known_idempotency_key_publishes_nothing(
    any_publisher: Either, redis: Redis
) -> None:
    """A second event with a known key is the first one; without a key each is its own."""
    first = await any_publisher.step_started(
        "run-1", node_id="n", node_type="t", idempotency_key="k"
    )
    again = await any_publisher.step_started(
        "run-1", node_id="n", node_type="t", idempotency_key="k"
    )
    assert first == again
    await any_publisher.publish("run-1", "a", {})
    await any_publisher.publish("run-1", "a", {})
    await any_publisher.publish("run-2", "a", {}, idempotency_key="k")
    assert len(await kept(redis)) == 3
    assert len(await kept(redis, "run-2")) == 1


async def test_options_set_prefix_terminal_types_and_limits(
    make_publisher: MakePublisher, redis: Redis
) -> None:
    """Prefix, terminal types, and the bounds of history are the publisher's to set."""
    limits = HistoryLimits(open_ttl_ms=50_000, history_ttl_ms=10_000)
    publisher = make_publisher(channel_prefix="x:", terminal_types=["done"], limits=limits)
    async with redis.pubsub() as channel:
        await channel.subscribe("x:run-1")
        await channel.get_message(timeout=5)
        await publisher.publish("run-1", "execution:completed", {})
        assert (await channel.get_message(timeout=5))["type"] == "message"
    assert not await redis.hexists("sse:{run-1}:meta", "terminal")
    assert 10_000 < await redis.pttl("sse:{run-1}:events") <= 50_000
    last = await publisher.publish("run-1", "done", {})
    assert await redis.hget("sse:{run-1}:meta", "terminal") == last.encode()
    assert await redis.pttl("sse:{run-1}:events") <= 10_000


@pytest.mark.parametrize("ending", ["completed", "failed", "canceled"])
async def test_endings_are_recorded_as_terminal(
    any_publisher: Either, redis: Redis, ending: str
) -> None:
    """The events that end an execution are known as such."""
    given = {"error_message": "no"} if ending == "failed" else {}
    last = await getattr(any_publisher, f"execution_{ending}")("run-1", **given)
    terminal = await redis.hmget("sse:{run-1}:meta", "terminal", "terminal_type")
    assert terminal == [last.encode(), f"execution:{ending}".encode()]


def test_defaults_agree_with_the_gateway(redis_url: str) -> None:
    """A publisher made without options agrees with a gateway run without settings."""
    fields = {name: field.default for name, field in Settings.model_fields.items()}
    defaults = {**(SyncPublisher.__init__.__kwdefaults__ or {})}
    for name in ("channel_prefix", "terminal_types", "event_max_bytes"):
        assert defaults[name] == fields[name]
    limits = defaults["limits"]
    assert limits.max_events == fields["history_max_events"]
    assert limits.max_bytes == fields["history_max_bytes"]
    assert limits.history_ttl_ms == fields["history_ttl_seconds"] * 1000
    assert limits.open_ttl_ms == fields["open_ttl_seconds"] * 1000


REFUSED = [
    ({"execution_id": "no/slash"}, "is not an execution id"),
    ({"execution_id": ""}, "is not an execution id"),
    ({"execution_id": "x" * 129}, "is not an execution id"),
    ({"execution_id": 7}, "is not an execution id"),
    ({"type": ""}, "no type"),
    ({"type": None}, "no type"),
    ({"type": "a\nb"}, "not printable"),
    ({"type": "x" * 129}, "longer than 128"),
    ({"type": "heartbeat"}, "one of the gateway's own"),
    ({"type": "stream:gap"}, "one of the gateway's own"),
    ({"type": "\ud800"}, "refused"),
    ({"type": {1}}, "refused"),
    ({"data": [1]}, "not a JSON object"),
    ({"data": None}, "not a JSON object"),
    ({"data": "text"}, "not a JSON object"),
    ({"data": {"x": [0, object()]}}, r"not JSON: data.x\[1\] is of type object"),
    ({"timestamp": "yesterday"}, "is not a time"),
    ({"type": " stream:closing"}, "white space"),
    ({"type": "a "}, "white space"),
    ({"idempotency_key": ""}, "is not an idempotency key"),
    ({"idempotency_key": "x" * 257}, "is not an idempotency key"),
    ({"idempotency_key": "\ud800"}, "is not an idempotency key"),
    ({"idempotency_key": 7}, "is not an idempotency key"),
]


@pytest.mark.parametrize(("wrong", "message"), REFUSED)
async def test_an_invalid_event_is_refused_and_not_sent(
    publisher: Either, redis: Redis, wrong: dict[str, Any], message: str
) -> None:
    """What can be no event is refused at once, by publisher and buffer, and nothing is sent."""
    event = {"execution_id": "run-1", "type": "a", "data": {}, **wrong}
    with pytest.raises(EventRefused, match=message):
        await publisher.publish(**event)
    with pytest.raises(EventRefused, match=message):
        publisher.buffered.publish(**event)
    assert await redis.dbsize() == 0


async def test_a_too_large_event_is_refused_and_not_sent(
    make_publisher: MakePublisher, redis: Redis
) -> None:
    """The limit holds for the envelope with its id; an event below it arrives, one above is
    refused before it is sent."""
    publisher = make_publisher(event_max_bytes=2000)
    # With the longest id that there can be, this event has 2,000 bytes.
    around = len(
        b'{"id":"%d-%d","type":"a","data":{"x":""},"timestamp":"2024-01-15T10:30:00.000Z"}'
        % (2**64 - 1, 2**64 - 1)
    )
    with pytest.raises(EventTooLarge, match="event 'a' has 2001 bytes, 2000 are allowed"):
        await publisher.publish("run-1", "a", {"x": "y" * (2001 - around)})
    assert await redis.dbsize() == 0
    async with redis.pubsub() as channel:
        await channel.subscribe("execution:run-1")
        await channel.get_message(timeout=5)
        await publisher.publish("run-1", "a", {"x": "y" * (2000 - around)})
        assert 1950 < len((await channel.get_message(timeout=5))["data"]) <= 2000


async def test_threads_and_tasks_share_a_publisher(
    make_publisher: MakePublisher, redis: Redis
) -> None:
    """Any number of threads or tasks share a publisher: every event has one id of its own."""
    publisher = make_publisher(deadline=10)
    ids = await asyncio.gather(
        *(publisher.publish("run-1", "a", {"number": n}) for n in range(300))
    )
    entries = await kept(redis)
    assert sorted(ids) == sorted(event_id for event_id, _ in entries)
    assert [event_id.partition("-")[2] for event_id, _ in entries] == [
        str(seq) for seq in range(1, 301)
    ]
    assert sorted(await numbers(redis)) == list(range(300))


async def test_leaving_the_block_sends_the_buffer(redis: Redis, redis_url: str) -> None:
    """Leaving a publisher sends what its buffer holds."""
    async with Publisher(redis_url) as publisher:
        publisher.buffered.publish("run-1", "a", {"number": 1})

    def in_thread() -> None:
        with SyncPublisher(redis_url) as publisher:
            publisher.buffered.publish("run-1", "a", {"number": 2})

    await asyncio.to_thread(in_thread)
    assert await numbers(redis) == [1, 2]


@pytest.mark.parametrize("kind", [Publisher, SyncPublisher])
def test_every_wrong_option_is_named(kind: type[Publisher | SyncPublisher], redis_url: str) -> None:
    """A publisher that could not work is not made; every mistake is named."""
    with pytest.raises(ConfigurationError) as caught:
        kind(redis_url, deadline=0, buffer_events=0)
    assert len(caught.value.mistakes) == 2
    with pytest.raises(ConfigurationError, match=r"url: .*redis.*https://"):
        kind("ftp://localhost")


async def test_password_user_and_database_of_the_url_are_used(
    make_publisher: MakePublisher, redis_process: Callable[..., RedisProcess]
) -> None:
    """Password, user and database number of the URL are used."""
    process = redis_process()
    process.command("ACL", "SETUSER", "worker", "on", ">secret", "~*", "&*", "+@all")
    url = process.url.replace("//", "//worker:secret@").replace("/0", "/3")
    await make_publisher(url).publish("run-1", "a", {})
    async with Redis.from_url(url) as client:
        assert len(await kept(client)) == 1


async def test_the_current_span_is_in_the_event(any_publisher: Either, redis: Redis) -> None:
    """As `traceparent`, without the vendors' `tracestate`, also where it is sent later; an event
    outside of any span has no such member."""
    context = SpanContext(
        int("0af7651916cd43dd8448eb211c80319c", 16),
        int("b7ad6b7169203331", 16),
        is_remote=False,
        trace_flags=TraceFlags(1),
        trace_state=TraceState([("vendor", "1")]),
    )
    with use_span(NonRecordingSpan(context)):
        await any_publisher.publish("run-1", "a", {})
        any_publisher.buffered.publish("run-1", "a", {})
    await any_publisher.flush()
    await any_publisher.publish("run-1", "a", {})
    *within, outside = [orjson.loads(payload) for _, payload in await kept(redis)]
    for event in within:
        assert event.pop("traceparent") == "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert [list(event) for event in (*within, outside)] == [["type", "data", "timestamp"]] * 3
