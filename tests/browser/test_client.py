"""The package in a real browser, imported from the gateway by a page of another origin."""

import asyncio
import signal
from typing import Any

from aiohttp import web
from playwright.async_api import BrowserContext
from redis.asyncio import Redis

from gateway.access.tokens import issue
from tests.browser.servers import passing_on, served
from tests.browser.tab import Tab
from tests.conftest import StartGateway
from tests.process.programs import serving
from tests.support import SECRET, eventually, free_port, producer_message

_FOLLOW = """async ([base, options, ttls]) => {
  const { subscribeToExecution } = await import(`${base}/api/v1/sse/client/index.js`);
  window.seen = []; window.statuses = []; window.asked = 0;
  window.subscription = subscribeToExecution("run-1", {
    organizationId: "acme",
    getToken: () => { window.asked += 1; return ttls[Math.min(window.asked, ttls.length) - 1]; },
    onEvent: (event) => seen.push(event.data.number ?? event.type),
    onStatus: (status) => statuses.at(-1) === status || statuses.push(status),
    ...options,
  });
}"""


class Page:
    """A page that follows run-1 with the package."""

    def __init__(self, tab: Tab) -> None:
        self.tab = tab

    async def follow(self, base: str, *tokens: str, **options: object) -> None:
        given = tokens or (issue(SECRET, organization_id="acme"),)
        await self.tab.page.evaluate(_FOLLOW, [base, options, list(given)])

    async def value(self, expression: str) -> Any:
        return await self.tab.page.evaluate(expression)

    async def sees(self, *numbers: int | str) -> None:
        """Wait until it has seen exactly these."""

        async def seen() -> bool:
            return bool(await self.value("seen") == list(numbers))

        try:
            await eventually(seen)
        except AssertionError as error:
            error.add_note(f"seen: {await self.value('seen')}, {await self.value('statuses')}")
            raise

    async def is_(self, status: str) -> None:
        """Wait until its status is this one."""

        async def so() -> bool:
            return bool(await self.value("subscription.status") == status)

        try:
            await eventually(so)
        except AssertionError as error:
            error.add_note(f"statuses: {await self.value('statuses')}")
            raise


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
    page = Page(tab)
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
    too, each event once, and the token is in no address."""
    gateway = await start_gateway(ownership="token", cors_origins=origin)
    asked: list[str] = []
    tab.page.on("request", lambda request: asked.append(request.url))
    await tab.page.goto(origin)
    page = Page(tab)
    await page.follow(gateway.url, transport="event-source", types=["own:type"])
    await page.is_("live")
    await publish(redis, 1)
    await page.sees(1)
    await gateway.parts.hub.cut()
    await page.is_("live")
    await publish(redis, 2, "own:type")
    await publish(redis, 3, "execution:completed")
    await page.is_("completed")
    await page.sees(1, 2, 3)
    streams = [url for url in asked if "/stream?" in url]
    assert len(streams) == 2
    assert all("ticket=" in url and "eyJ" not in url for url in streams)


async def test_killed(redis_url: str, redis: Redis, origin: str, tab: Tab) -> None:
    """The gateway is killed and started anew in the middle of a run: the page says that it
    reconnects, and when, and then has every event once."""
    settings = {
        "REDIS_URL": redis_url,
        "GATEWAY_OWNERSHIP": "token",
        "GATEWAY_CORS_ORIGINS": origin,
        "GATEWAY_PORT": str(free_port()),
    }
    page = Page(tab)
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
    page = Page(tab)
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
    that is refused is asked for anew, once; then the page is told why it is over."""
    gateway = await start_gateway(ownership="token", cors_origins=origin, jwt_leeway_seconds=0)
    await tab.page.goto(origin)
    page = Page(tab)
    short = issue(SECRET, organization_id="acme", ttl_seconds=30)
    await page.follow(gateway.url, short, issue(SECRET, organization_id="acme"))
    await publish(redis, 1)
    await page.sees(1)
    # `stream:expiring` comes at once, since less than a minute is left.
    await eventually(lambda: page.value("asked === 2"))
    await page.is_("live")
    await publish(redis, 2, "execution:completed")
    await page.sees(1, 2)
    await page.follow(gateway.url, "no token", "none either")
    await page.is_("closed")
    assert await page.value("subscription.error.status") == 401


async def test_proxy_that_swallows(
    start_gateway: StartGateway, redis: Redis, origin: str, tab: Tab
) -> None:
    """Behind a proxy that passes nothing on before the end the page polls after the wait, without
    being told to, and has a stream again when the proxy is mended: each event once."""
    gateway = await start_gateway(ownership="token", cors_origins=origin)
    mended = asyncio.Event()
    proxy = web.Application()
    swallow = passing_on(gateway, swallows=lambda: not mended.is_set())
    proxy.router.add_route("*", "/{path:.*}", swallow)
    async with served(proxy) as url:
        await tab.page.goto(origin)
        page = Page(tab)
        timing = {"connectedWithinMs": 500, "pollEveryMs": 100, "probeEveryMs": 300}
        await page.follow(url, timing=timing)
        await page.is_("polling")
        for number in range(3):
            await publish(redis, number)
        await page.sees(0, 1, 2)
        mended.set()
        await page.is_("live")
        await publish(redis, 3)
        await publish(redis, 4, "execution:completed")
        await page.is_("completed")
        await page.sees(0, 1, 2, 3, 4)
