"""Nine tabs over HTTP/1.1, of whose six connections every further stream would wait endlessly."""

import asyncio

import pytest
from playwright.async_api import BrowserContext
from redis.asyncio import Redis

from gateway.access.tokens import issue
from tests.browser.chromium import REBOUND, Chromium
from tests.browser.conftest import window_of
from tests.browser.follower import Follower
from tests.browser.tab import Tab
from tests.browser.test_client import publish
from tests.conftest import RunningGateway, StartGateway
from tests.support import SECRET, eventually

TABS = 9

# Only secure contexts have Web Locks: pages of this machine, or with TLS.
HOSTS = ("127.0.0.1", REBOUND)


class Tabs:
    """Tabs of one origin that follow run-1 with tokens of their own."""

    def __init__(self, window: BrowserContext, gateway: RunningGateway, origin: str, host: str):
        self._window, self._gateway = window, gateway
        self._base, self._origin = (url.replace("127.0.0.1", host) for url in (gateway.url, origin))
        self.all: dict[str, Follower] = {}

    async def open(self, subject: str = "ann", name: str = "") -> Follower:
        """One more, once it is live."""
        name = name or f"tab-{len(self.all)}"
        token = issue(SECRET, organization_id="acme", subject=subject, more={"jti": name})
        self.all[name] = page = Follower(Tab(await self._window.new_page()))
        await page.tab.page.goto(self._origin)
        await page.follow(self._base, token)
        await page.is_("live")
        return page

    async def take_lead(self) -> Follower:
        """The tab that has the only stream; it is none of these any more."""
        hub = self._gateway.components.hub
        await eventually(lambda: len(hub) == 1)
        [stream] = hub
        return self.all.pop(stream.principal.identity.token_id)

    async def see(self, *numbers: int) -> None:
        """Wait until each of them has seen exactly these."""
        for page in self.all.values():
            await page.sees(*numbers)


@pytest.mark.parametrize("host", HOSTS, ids=["locks", "no locks"])
async def test_nine_tabs(
    start_gateway: StartGateway,
    redis: Redis,
    origin: str,
    window: BrowserContext,
    host: str,
) -> None:
    """They have one stream, whichever tab holds it: it is closed, and frozen. The others go on, and
    each event comes to each tab once; to the frozen one too, when it goes on."""
    origins = [origin.replace("127.0.0.1", name) for name in HOSTS]
    gateway = await start_gateway(ownership="token", cors_origins=",".join(origins))
    tabs = Tabs(window, gateway, origin, host)
    for _ in range(TABS):
        await tabs.open()
    await publish(redis, 1)
    await tabs.see(1)
    closed = await tabs.take_lead()
    await closed.tab.page.close()
    await publish(redis, 2)
    await tabs.see(1, 2)
    frozen = await tabs.take_lead()
    session = await window.new_cdp_session(frozen.tab.page)
    await session.send("Page.setWebLifecycleState", {"state": "frozen"})
    await publish(redis, 3)
    await tabs.see(1, 2, 3)
    for page in tabs.all.values():
        assert await page.value("statuses") == ["live"]
    await session.send("Page.setWebLifecycleState", {"state": "active"})
    tabs.all["frozen"] = frozen
    await tabs.see(1, 2, 3)
    await publish(redis, 4, "execution:completed")
    await tabs.see(1, 2, 3, 4)
    for page in tabs.all.values():
        await page.is_("completed")


@pytest.mark.parametrize("host", HOSTS, ids=["locks", "no locks"])
async def test_killed_leader(
    start_gateway: StartGateway, redis: Redis, origin: str, host: str
) -> None:
    """The renderer of the tab that holds the stream crashes: the others see each event once. They
    notice by its lock or by its silence, and never say that the stream is lost."""
    origins = [origin.replace("127.0.0.1", name) for name in HOSTS]
    gateway = await start_gateway(
        ownership="token", cors_origins=",".join(origins), heartbeat_seconds=1
    )
    # A process for each tab, as Chromium has it for people as long as there is memory.
    chromium = Chromium("--disable-features=ProcessPerSiteUpToMainFrameThreshold")
    try:
        async with window_of(chromium) as window:
            tabs = Tabs(window, gateway, origin, host)
            for _ in range(3):
                await tabs.open()
            await publish(redis, 1)
            await tabs.see(1)
            crashed = (await tabs.take_lead()).tab.page
            session = await window.new_cdp_session(crashed)
            async with crashed.expect_event("crash"):
                # It has no answer: who could give it is gone.
                crash = asyncio.ensure_future(session.send("Page.crash"))
            await publish(redis, 2)
            await tabs.see(1, 2)
            for page in tabs.all.values():
                assert await page.value("statuses") == ["live"]
            crash.cancel()
    finally:
        chromium.stop()


async def test_two_users(
    start_gateway: StartGateway, redis: Redis, origin: str, window: BrowserContext
) -> None:
    """Tabs of two users have a stream for each of them; a tab whose token is refused has none."""
    gateway = await start_gateway(ownership="token", cors_origins=origin)
    tabs = Tabs(window, gateway, origin, "127.0.0.1")
    for subject in ("ann", "bob", "ann", "bob"):
        await tabs.open(subject)
    await eventually(lambda: len(gateway.components.hub) == 2)
    streams = [stream.principal.identity.subject for stream in gateway.components.hub]
    assert sorted(streams) == ["ann", "bob"]
    refused = Follower(Tab(await window.new_page()))
    await refused.tab.page.goto(origin)
    await refused.follow(gateway.url, issue("x" * 32, organization_id="acme", subject="ann"))
    await refused.is_("closed")
    await publish(redis, 1)
    await tabs.see(1)
    assert await refused.value("seen") == []
