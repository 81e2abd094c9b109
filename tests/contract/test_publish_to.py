"""Where scripts publish: on the channel below the prefix, on the execution's own, or on both."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import orjson
import pytest
from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from gateway.bus import scripts
from gateway.bus.connection import create_redis
from gateway.bus.forget import forget
from gateway.bus.publishing import PublishCall, Publishing
from gateway.contract.keys import PublishTo, live_channel
from gateway.contract.scripts import HistoryLimits, NewEvent, publish_call
from gateway.errors import ConfigurationError
from gateway.metrics import Metrics
from gateway.publisher import Publisher
from tests.harness.history import append, ids, payload, record

CHANNELS = {
    "pattern": ["execution:run-1"],
    "execution": ["sse:{run-1}:live"],
    "both": ["execution:run-1", "sse:{run-1}:live"],
}


class Heard:
    """Whatever is published on the two channels of run-1."""

    def __init__(self, pubsub: PubSub) -> None:
        self._pubsub = pubsub

    async def all(self) -> list[tuple[str, bytes]]:
        """Channel and message, of all that was published until now."""
        await self._pubsub.ping()
        found: list[tuple[str, bytes]] = []
        while True:
            message = await self._pubsub.get_message(timeout=10)
            assert message is not None
            if message["type"] == "pong":
                return found
            if message["type"] == "message":
                found.append((message["channel"].decode(), message["data"]))


@asynccontextmanager
async def hearing(redis: Redis) -> AsyncIterator[Heard]:
    async with redis.pubsub() as pubsub:
        await pubsub.subscribe("execution:run-1", live_channel("run-1"))
        for _ in range(2):
            await pubsub.get_message(timeout=10)
        yield Heard(pubsub)


@pytest.mark.parametrize("to", ["pattern", "execution", "both"])
async def test_a_publisher_publishes_as_it_is_told(
    redis: Redis, redis_url: str, to: PublishTo
) -> None:
    """On each channel the same: the recorded event, with its id."""
    async with hearing(redis) as heard, Publisher(redis_url, publish_to=to) as publisher:
        given = await publisher.publish("run-1", "a", {"n": 1})
        found = await heard.all()
    assert [channel for channel, _ in found] == CHANNELS[to]
    assert len({message for _, message in found}) == 1
    assert orjson.loads(found[0][1])["id"] == given


@pytest.mark.parametrize("to", ["pattern", "execution", "both"])
async def test_a_gateway_publishes_as_it_is_told(
    redis: Redis, redis_url: str, to: PublishTo
) -> None:
    """What it is sent by HTTP."""
    events = [NewEvent(payload(name), "", "", "") for name in ("a", "b")]
    async with create_redis(redis_url, max_connections=2) as client, hearing(redis) as heard:
        publishing = Publishing(client, "execution:", HistoryLimits(), Metrics(), to)
        published = await publishing.publish(PublishCall("run-1", "acme", events, b"x"))
        found = await heard.all()
    assert [channel for channel, _ in found] == CHANNELS[to] * 2
    assert {orjson.loads(message)["id"] for _, message in found} == set(published.ids)


async def test_without_the_argument_all_is_as_it_was(redis: Redis) -> None:
    """A caller that knows nothing of it publishes for the pattern."""
    call = publish_call(
        "run-1", payload("a"), channel="execution:run-1", idempotency_key="k", terminal_type="",
        limits=HistoryLimits(),
    )  # fmt: skip
    async with hearing(redis) as heard:
        await scripts.run(redis, call._replace(arguments=call.arguments[:-2]))
        assert [channel for channel, _ in await heard.all()] == CHANNELS["pattern"]


def test_another_word_is_refused(redis_url: str) -> None:
    """By name."""
    with pytest.raises(ConfigurationError, match="publish_to is 'all': make it pattern, execution"):
        Publisher(redis_url, publish_to="all")  # type: ignore[arg-type]


async def recorded(redis: Redis, *names: str, instance: str, batch: int = 1) -> Sequence[object]:
    """Record bare messages as the recorder *instance* does, and hand them on."""
    bare = [payload(name) for name in names]
    return await record(redis, "run-1", *bare, instance=instance, batch=batch, live="PUBLISH")


async def test_what_is_recorded_is_handed_on_once(redis: Redis) -> None:
    """Whichever recorder comes first does it; one that asks again, since the answer was lost, does
    not. A message that was really published twice is handed on twice."""
    async with hearing(redis) as heard:
        first = await recorded(redis, "a", "a", instance="one")
        assert await recorded(redis, "a", "a", instance="one") == first
        assert await recorded(redis, "a", "a", instance="two") == first
        await recorded(redis, "a", "b", instance="two", batch=2)
        await recorded(redis, "a", "b", instance="one", batch=2)
        found = await heard.all()
    assert {channel for channel, _ in found} == {"sse:{run-1}:live"}
    assert [orjson.loads(message)["id"] for _, message in found] == await ids(redis, "run-1")
    assert [orjson.loads(message)["type"] for _, message in found] == ["a", "a", "a", "b"]


async def test_all_gateways_learn_what_is_forgotten(redis: Redis) -> None:
    """On both channels, since nobody knows how they subscribe."""
    async with hearing(redis) as heard:
        await append(redis, "run-1", to="pattern")
        await forget(redis, "execution:", ["run-1"])
        _, *found = await heard.all()
        assert [channel for channel, _ in found] == CHANNELS["both"]
