"""The package in a real browser, imported from the gateway by a page of another origin."""

import signal

from playwright.async_api import BrowserContext
from redis.asyncio import Redis

from gateway.access.tokens import issue
from tests.browser.follower import Follower
from tests.browser.tab import Tab
from tests.conftest import StartGateway
from tests.harness.gateway_process import serving
from tests.harness.http_proxy import proxy_before
from tests.support import SECRET, eventually, free_port, producer_message


async def publish(redis: Redis, number: int, event_type: str = "step:started") -> None:
    message = producer_message(event_type, number=number, node_id=f"n{number}")
    await redis.publish("execution:run-1", message)


async def test_whole_run(start_gateway: StartGateway, redis: Redis, origin: str, tab: Tab) -> None:
    """A page of another origin imports the package from the gateway, follows a run to its end, and
    has the run document; the token is in no address; its console has no error."""
    gateway = await start_gateway(ownership="token", cors_origins=origin)
    asked: list[str] = []
    tab.page.on("request", lambda request: asked.append(request.url))
    await tab.page.goto(origin)
    page = Follower(tab)
    await page.follow(gateway.url)
    await page.is_("live")
    await publish(redis, 1)
    await publish(redis, 1, "step:completed")
    await publish(redis, 2, "execution:paused")
    await page.is_("paused")
    await publish(redis, 3, "execution:completed")
    await page.is_("completed")
    await page.sees(1, 1, 2, 3)
    assert await page.value("statuses") == ["live", "paused", "completed"]
    run = await page.value("subscription.run")
    assert (run["status"], run["steps_completed"]) == ("completed", 1)
    assert any("/stream" in url for url in asked)
    assert not any("eyJ" in url for url in asked)
    assert tab.errors == []


async def test_event_source(
    start_gateway: StartGateway, redis: Redis, origin: str, tab: Tab
) -> None:
    """Without streaming fetch it is an EventSource with a ticket: through the loss of a connection
    too, each event once, and the token is in no address. An event that a producer calls `error` is
    no loss of the connection."""
    gateway = await start_gateway(ownership="token", cors_origins=origin)
    asked: list[str] = []
    tab.page.on("request", lambda request: asked.append(request.url))
    await tab.page.goto(origin)
    page = Follower(tab)
    await page.follow(gateway.url, transport="event-source", types=["own:type", "error"])
    await page.is_("live")
    await publish(redis, 1)
    await page.sees(1)
    await gateway.components.hub.cut()
    await page.is_("live")
    await publish(redis, 2, "own:type")
    await publish(redis, 3, "error")
    await page.sees(1, 2, 3)
    await publish(redis, 4, "execution:completed")
    await page.is_("completed")
    await page.sees(1, 2, 3, 4)
    streams = [url for url in asked if "/stream?" in url]
    assert len(streams) == 2
    assert all("ticket=" in url and "eyJ" not in url for url in streams)


async def test_killed(redis_url: str, redis: Redis, origin: str, tab: Tab) -> None:
    """The gateway is killed and started again in the middle of a run: the page says that it
    reconnects, and when, and then has every event once."""
    settings = {
        "REDIS_URL": redis_url,
        "GATEWAY_OWNERSHIP": "token",
        "GATEWAY_CORS_ORIGINS": origin,
        "GATEWAY_PORT": str(free_port()),
    }
    page = Follower(tab)
    await tab.page.goto(origin)
    async with serving(**settings) as first:
        await page.follow(first.url)
        await page.is_("live")
        await publish(redis, 1)
        await page.sees(1)
        first.signal(signal.SIGKILL)
        await page.is_("reconnecting")
        await eventually(lambda: page.value("subscription.nextTryAt > Date.now()"))
    async with serving(**settings):
        await page.is_("live")
        await publish(redis, 2, "execution:completed")
        await page.is_("completed")
        await page.sees(1, 2)


async def test_offline(
    start_gateway: StartGateway, redis: Redis, origin: str, tab: Tab, window: BrowserContext
) -> None:
    """Offline it is not called live; back online it goes on at once with what was missed."""
    gateway = await start_gateway(ownership="token", cors_origins=origin)
    await tab.page.goto(origin)
    page = Follower(tab)
    await page.follow(gateway.url)
    await page.is_("live")
    await window.set_offline(True)
    await page.is_("reconnecting")
    await publish(redis, 1)
    await window.set_offline(False)
    await page.is_("live")
    await page.sees(1)


async def test_token_renewed(
    start_gateway: StartGateway, redis: Redis, origin: str, tab: Tab
) -> None:
    """A token that expires is replaced before that, and the stream goes on with the new one. One
    that has expired, or is refused, is replaced once; then the page shows why it is over."""
    gateway = await start_gateway(ownership="token", cors_origins=origin, jwt_leeway_seconds=0)
    await tab.page.goto(origin)
    page = Follower(tab)
    short = issue(SECRET, organization_id="acme", ttl_seconds=30)
    await page.follow(gateway.url, short, issue(SECRET, organization_id="acme"))
    await publish(redis, 1)
    await page.sees(1)
    # `stream:expiring` comes at once, since less than a minute is left.
    await eventually(lambda: page.value("asked === 2"))
    await page.is_("live")
    await publish(redis, 2, "execution:completed")
    await page.sees(1, 2)
    expired = issue(SECRET, organization_id="acme", ttl_seconds=-60)
    await page.follow(gateway.url, expired, issue(SECRET, organization_id="acme"))
    await page.sees(1, 2)
    assert await page.value("asked") == 2
    await page.follow(gateway.url, "no token", "none either")
    await page.is_("closed")
    assert await page.value("subscription.error.status") == 401


async def test_proxy_that_swallows(
    start_gateway: StartGateway, redis: Redis, origin: str, tab: Tab
) -> None:
    """Behind a proxy that passes nothing on before the end, the page begins to poll after the wait
    by itself, and has a stream again when the proxy works: each event once."""
    gateway = await start_gateway(ownership="token", cors_origins=origin)
    async with proxy_before(gateway.url, "swallows") as proxy:
        await tab.page.goto(origin)
        page = Follower(tab)
        timing = {"connectedWithinMs": 500, "pollEveryMs": 100, "probeEveryMs": 300}
        await page.follow(proxy.url, timing=timing)
        await page.is_("polling")
        for number in range(3):
            await publish(redis, number)
        await page.sees(0, 1, 2)
        proxy.habit = "passes"
        await page.is_("live")
        await publish(redis, 3)
        await publish(redis, 4, "execution:completed")
        await page.is_("completed")
        await page.sees(0, 1, 2, 3, 4)


async def test_looked_at_again(
    start_gateway: StartGateway, redis: Redis, origin: str, tab: Tab, window: BrowserContext
) -> None:
    """A tab that somebody comes back to does not wait for its next try, however far off that is."""
    gateway = await start_gateway(ownership="token", cors_origins=origin)
    async with proxy_before(gateway.url, "refuses") as proxy:
        await tab.page.goto(origin)
        page = Follower(tab)
        await page.follow(proxy.url)
        await page.is_("reconnecting")
        assert await page.value("subscription.nextTryAt - Date.now()") > 600_000
        other = await window.new_page()
        await other.bring_to_front()
        await eventually(lambda: page.value("document.hidden"))
        await publish(redis, 1)
        proxy.habit = "passes"
        await tab.page.bring_to_front()
        await page.is_("live")
        await page.sees(1)
