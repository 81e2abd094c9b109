"""Sets as tests ask for them, and what their readers have seen of each execution."""

from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlencode

from redis.asyncio import Redis

from tests.conftest import RunningGateway, credentials
from tests.harness.history import append
from tests.harness.sse import Seen, SseReader

PATH = "/api/v1/sse/executions/stream"


def path(execution_ids: Iterable[str], **query: str) -> str:
    """The path and query of a set."""
    return (
        f"{PATH}?{urlencode([*(('execution_id', one) for one in execution_ids), *query.items()])}"
    )


async def ask(
    gateway: RunningGateway, execution_ids: Iterable[str], cursor: str | None = None, **more: Any
) -> Any:
    """The response to a request for a set, as organization `acme`."""
    headers = {**credentials(**more.pop("claims", {})), **more}
    if cursor is not None:
        headers["Last-Event-ID"] = cursor
    response = await gateway.session.get(gateway.url + path(execution_ids), headers=headers)
    gateway.responses.append(response)
    return response


async def open_set(
    gateway: RunningGateway, execution_ids: Iterable[str], cursor: str | None = None, **more: Any
) -> tuple[SseReader, Seen]:
    """An open set, and its `connected`."""
    response = await ask(gateway, execution_ids, cursor, **more)
    assert response.status == 200, await response.text()
    reader = SseReader(response)
    return reader, await reader.expect("connected")


def of(seen: Iterable[Seen], execution_id: str) -> Sequence[Seen]:
    """What of *seen* is about this execution."""
    return [one for one in seen if one.json().get("execution_id") == execution_id]


def own_id(seen: Seen) -> str:
    """The id of an event in its own execution."""
    return str(seen.json()["id"])


async def happen(redis: Redis, execution_id: str, event_type: str = "step:started") -> str:
    """An event is published; its id."""
    return str(await append(redis, execution_id, event_type))
