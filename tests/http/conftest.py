"""Fixtures for polls: a gateway behind pytest-aiohttp's client, and a producer for its history."""

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest
from aiohttp.test_utils import TestClient
from redis.asyncio import Redis

from gateway.app import create_application
from tests.conftest import MakeSettings, credentials
from tests.http.histories import Producer

Client = TestClient[Any, Any]


def path(execution_id: str = "run-1", workflow_id: str = "flow-1") -> str:
    """Where the run document is."""
    return f"/api/v1/workflows/{workflow_id}/runs/{execution_id}"


async def poll(client: Client, **query: str) -> Any:
    """The run document of `run-1`, asked for as organization `acme`."""
    async with client.get(path(), params=query, headers=credentials()) as response:
        assert response.status == 200, await response.text()
        assert response.headers["Content-Type"] == "application/json"
        return await response.json(loads=orjson.loads)


@pytest.fixture
async def client(
    aiohttp_client: Callable[[Any], Awaitable[Client]], make_settings: MakeSettings
) -> Client:
    """A client of a gateway that trusts a valid token alone."""
    return await aiohttp_client(create_application(make_settings(ownership="token")))


@pytest.fixture
def producer(redis: Redis) -> Producer:
    """Publishes the events of `run-1`."""
    return Producer(redis)
