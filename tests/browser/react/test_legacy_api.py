"""The hook by the legacy API, the form of the front-end document: same arguments, same values."""

from contextlib import AsyncExitStack
from pathlib import Path

from redis.asyncio import Redis

from tests.browser.react.app import App, legacy, publish, token
from tests.browser.react.test_hook import start
from tests.browser.servers import pages
from tests.browser.tab import Tab
from tests.conftest import StartGateway
from tests.harness.history import flush
from tests.harness.http_proxy import passing_on
from tests.support import eventually, served


async def test_three_arguments(
    start_gateway: StartGateway, redis: Redis, built: Path, tab: Tab
) -> None:
    """With an id, a token and an organization, in a page behind the gateway's own proxy, it returns
    events as `{type, data: envelope, timestamp}`, the legacy status, and null for an error;
    paused is connected."""
    gateway = await start_gateway(ownership="token")
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(passing_on(gateway.url))
        application = pages(built)
        application.router.add_route("*", "/api/{path:.*}", proxy.handle)
        address = await stack.enter_async_context(served(application))
        await tab.page.goto(address)
        app = App(tab)
        await app.show(legacy("run-1", token(), "acme"))
        await app.shows("connected")
        await publish(redis, 1)
        await publish(redis, 2, "execution:paused", reason="approval")
        await app.shows("connected", 1, 2)
        await publish(redis, 3, "execution:completed")
        await app.shows("completed", 1, 2, 3)
        shown = await app.shown()
        assert set(shown) == {"events", "status", "error"}
        assert shown["error"] is None
        first, paused, _ = shown["events"]
        assert set(first) == {"type", "data", "timestamp"}
        assert first["type"] == first["data"]["type"] == "step:started"
        assert first["data"]["data"]["node_type"] == "signature"
        assert first["timestamp"] == first["data"]["timestamp"]
        assert paused["data"]["data"]["reason"] == "approval"
        assert gateway.components.metrics.streams_opened == 1


async def test_failed(
    start_gateway: StartGateway, redis: Redis, react_origin: str, app: App
) -> None:
    """A run that failed is failed, and the error is its message. A null id opens nothing and is
    disconnected."""
    gateway = await start(start_gateway, react_origin)
    given = (token(), "acme", {"baseUrl": gateway.url})
    await app.show(legacy(None, *given))
    await app.shows("disconnected")
    assert await app.shown() == {"events": [], "status": "disconnected", "error": None}
    assert app.streams_asked == []
    await app.show(legacy("run-1", *given))
    await app.shows("connected")
    await publish(redis, 1, "execution:failed", error_message="Nothing was signed")
    await app.shows("failed", 1)
    assert (await app.shown())["error"] == "Nothing was signed"


async def test_restart(
    start_gateway: StartGateway, redis: Redis, react_origin: str, app: App
) -> None:
    """While the gateway starts again it is connecting, then connected, with each event once."""
    gateway = await start(start_gateway, react_origin)
    await app.show(legacy("run-1", token(), "acme", {"baseUrl": gateway.url}))
    await app.shows("connected")
    await publish(redis, 1)
    await app.shows("connected", 1)
    port = int(gateway.url.rpartition(":")[2])
    await gateway.server.stop()
    await app.shows("connecting", 1)
    await start(start_gateway, react_origin, port=port)
    await publish(redis, 2)
    await app.value("dispatchEvent(new Event('online'))")
    await app.shows("connected", 1, 2)


async def test_notices(
    start_gateway: StartGateway, redis: Redis, react_origin: str, app: App
) -> None:
    """After a reset of the history the earlier events are gone, and no notice is among the events:
    each has `data.data`."""
    gateway = await start(start_gateway, react_origin, heartbeat_seconds=0.2)
    await app.show(legacy("run-1", token(), "acme", {"baseUrl": gateway.url}))
    await publish(redis, 1)
    await app.shows("connected", 1)
    await flush(redis)
    await eventually(lambda: gateway.components.metrics.resets == 1)
    await publish(redis, 2)
    await app.shows("connected", 2)
    assert all(await app.value("shown.one.events.map(({data}) => data.data.node_type)"))


async def test_another_token(
    start_gateway: StartGateway, redis: Redis, react_origin: str, app: App
) -> None:
    """With a refused token it is disconnected, with the reason; with the next one it is connected.
    An open stream continues with another token: no new stream is opened."""
    gateway = await start(start_gateway, react_origin)
    await publish(redis, 1)
    for given in ("not.a.token", "none.either.way"):
        await app.show(legacy("run-1", given, "acme", {"baseUrl": gateway.url}))
        await eventually(lambda: len(app.streams_asked) >= 2)
        await app.shows("disconnected")
        assert "token" in (await app.shown())["error"]
        app.streams_asked.clear()
    for seconds in (1000, 2000):
        given = token(ttl_seconds=seconds)
        await app.show(legacy("run-1", given, "acme", {"baseUrl": gateway.url}))
        await app.shows("connected", 1)
    assert len(app.streams_asked) == 1
