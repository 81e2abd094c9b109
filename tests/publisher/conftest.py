"""Both kinds of publisher behind one face, so that every case is a case of both."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from gateway.contract.acl import PUBLISHER
from gateway.contract.keys import channel_pattern
from gateway.publisher import AsyncBuffer, Publisher, SyncBuffer, SyncPublisher
from tests.harness.history import kept
from tests.harness.redis_process import RedisProcess


class Either:
    """A publisher of one kind; `await either.publish(...)` whichever it is."""

    def __init__(self, publisher: Publisher | SyncPublisher) -> None:
        self.publisher = publisher

    @property
    def buffered(self) -> AsyncBuffer | SyncBuffer:
        return self.publisher.buffered

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self.publisher, name)

        async def call(*arguments: Any, **named: Any) -> Any:
            if isinstance(self.publisher, SyncPublisher):
                return await asyncio.to_thread(method, *arguments, **named)
            return await method(*arguments, **named)

        return call


MakePublisher = Callable[..., Either]


@pytest.fixture(params=[Publisher, SyncPublisher])
async def make_publisher(
    request: pytest.FixtureRequest, redis_server: RedisProcess, redis_url: str
) -> AsyncIterator[MakePublisher]:
    """Makes publishers of one kind, for the shared Redis if no other is named, and with no more
    rights there than they need."""
    made: list[Either] = []
    own = redis_server.url_of(PUBLISHER.name)

    def make(url: str = own, **options: Any) -> Either:
        if prefix := options.get("channel_prefix"):
            redis_server.command("ACL", "SETUSER", PUBLISHER.name, f"&{channel_pattern(prefix)}")
        made.append(Either(request.param(url, **options)))
        return made[-1]

    yield make
    for publisher in made:
        await publisher.close()


@pytest.fixture
async def publisher(make_publisher: MakePublisher) -> Either:
    return make_publisher()


async def numbers(redis: Redis, execution_id: str = "run-1") -> list[int]:
    """The `number` in the data of every event kept of an execution."""
    return [
        orjson.loads(payload)["data"]["number"] for _, payload in await kept(redis, execution_id)
    ]
