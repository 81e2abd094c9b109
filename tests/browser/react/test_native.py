"""A hook of people's own, made of the browser's EventSource: the gateway serves that too."""

from typing import Any
from urllib.parse import quote

import pytest
from redis.asyncio import Redis

from tests.browser.react.app import App, publish, token
from tests.browser.react.test_hook import start
from tests.conftest import RunningGateway, StartGateway
from tests.support import eventually


def native(gateway: RunningGateway, execution_id: str) -> dict[str, Any]:
    """A component with such a hook; the credentials are in the query."""
    query = f"Authorization=Bearer%20{quote(token())}&organization_id=acme"
    url = f"{gateway.stream_url(execution_id)}?{query}"
    return {"hook": "Native", "name": "one", "url": url}


@pytest.mark.parametrize("ending", ["completed", "failed"])
async def test_whole_run(
    start_gateway: StartGateway, redis: Redis, react_origin: str, app: App, ending: str
) -> None:
    """Under StrictMode, from another origin, it sees a whole run once, paused and ended, with the
    error's message; it closes, and no stream is left."""
    gateway = await start(start_gateway, react_origin)
    await app.show(native(gateway, "run-1"))
    await app.shows("connected")
    await publish(redis, 1)
    await publish(redis, 2, "step:completed", duration_ms=70)
    await publish(redis, 3, "step:failed", error="no")
    await publish(redis, 4, "execution:paused", reason="approval")
    await app.shows("connected", 1, 2, 3, 4)
    message = "Nothing was signed" if ending == "failed" else None
    await publish(redis, 5, f"execution:{ending}", error_message=message)
    await app.shows(ending, 1, 2, 3, 4, 5)
    shown = await app.shown()
    assert shown["error"] == message
    assert shown["events"][3]["data"]["data"]["reason"] == "approval"
    assert all(event["timestamp"] for event in shown["events"])
    await eventually(lambda: gateway.server.streams == 0)
    assert app.tab.errors == []


async def test_error(
    start_gateway: StartGateway, redis: Redis, react_origin: str, app: App
) -> None:
    """It closes at the first error and is disconnected for good; mounted again, it has every
    event, once."""
    gateway = await start(start_gateway, react_origin)
    await app.show(native(gateway, "run-1"))
    await publish(redis, 1)
    await app.shows("connected", 1)
    await gateway.components.hub.cut()
    await app.shows("disconnected", 1)
    await publish(redis, 2)
    await app.show()
    await app.show(native(gateway, "run-1"))
    await app.shows("connected", 1, 2)
