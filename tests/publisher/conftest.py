"""Both kinds of publisher behind one face, so that every case is a case of both."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from gateway.access.tokens import issue
from gateway.contract.acl import PUBLISHER
from gateway.contract.keys import channel_pattern
from gateway.publisher import AsyncBuffer, Publisher, SyncBuffer, SyncPublisher
from tests.conftest import RunningGateway, StartGateway
from tests.harness.history import kept
from tests.harness.redis_process import RedisProcess
from tests.support import SECRET


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


@pytest.fixture(params=["redis", "http"])
async def any_publisher(
    request: pytest.FixtureRequest, make_publisher: MakePublisher, start_gateway: StartGateway
) -> Either:
    """A publisher of either kind, over either way."""
    if request.param == "redis":
        return make_publisher()
    gateway = await start_gateway(publish=True)
    token = publishing_token("acme", "other", "açaí")
    return make_publisher(gateway.url, token=token, organization_id="acme")


@pytest.fixture
async def gateway(start_gateway: StartGateway) -> RunningGateway:
    """A gateway that takes events by HTTP."""
    return await start_gateway(publish=True)


def publishing_token(*organizations: str, ttl_seconds: int = 3600) -> str:
    """A token with the right to publish for these organizations (by default `acme`)."""
    more = {"organization_id": organizations or "acme", "scope": "executions:publish"}
    return issue(SECRET, organization_id="", ttl_seconds=ttl_seconds, more=more)


async def numbers(redis: Redis, execution_id: str = "run-1") -> list[int]:
    """The `number` in the data of every event kept of an execution."""
    return [
        orjson.loads(payload)["data"]["number"] for _, payload in await kept(redis, execution_id)
    ]
