"""The sample nginx under a real browser: TLS and HTTP/2, many tabs on one connection, restarts."""

import asyncio
import re
import signal
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, Page
from redis.asyncio import Redis

from gateway.access.tokens import issue
from gateway.publisher import Publisher
from tests.browser.follower import Follower
from tests.browser.tab import Tab
from tests.conftest import StartGateway
from tests.harness.gateway_process import serving
from tests.harness.nginx import Nginx
from tests.support import SECRET, eventually, free_port, producer_message

TABS = 20
STREAMS = 200


@pytest.fixture
async def page(window: BrowserContext, origin: str) -> Page:
    """A page of an application, which trusts the test's certificate."""
    return await trusting(window, origin)


async def trusting(window: BrowserContext, origin: str) -> Page:
    page = await window.new_page()
    session = await window.new_cdp_session(page)
    await session.send("Security.setIgnoreCertificateErrors", {"ignore": True})
    await page.goto(origin)
    return page


@asynccontextmanager
async def behind_nginx(
    prefix: Path, upstream: str, origin: str, *, most_streams: int = 512
) -> AsyncIterator[Nginx]:
    """The sample site with TLS before *upstream*, for pages of *origin*."""
    prefix.mkdir()
    nginx = Nginx(prefix, upstream, tls=True)
    nginx.replace(
        "http2_max_concurrent_streams 512", f"http2_max_concurrent_streams {most_streams}"
    )
    nginx.list_origin(origin)
    nginx.start()
    try:
        yield nginx
    finally:
        await asyncio.to_thread(nginx.stop)


def stream_url(nginx: Nginx, execution_id: str = "run-1") -> str:
    token = issue(SECRET, organization_id="acme")
    query = f"Authorization=Bearer%20{token}&organization_id=acme"
    return f"{nginx.url}/api/v1/sse/executions/{execution_id}/stream?{query}"


_OPEN = """([url, count]) => {
  window.connected = 0; window.arrived = [];
  window.sources = Array.from({ length: count }, () => {
    const source = new EventSource(url);
    source.addEventListener("connected", () => (window.connected += 1));
    source.addEventListener("step:started", () => window.arrived.push(Date.now()));
    source.addEventListener("execution:completed", () => source.close());
    return source;
  });
}"""


@pytest.mark.parametrize(("most", "connected"), [(512, STREAMS), (128, 128)])
async def test_one_connection(
    start_gateway: StartGateway, redis: Redis, origin: str, page: Page, tmp_path: Path,
    most: int, connected: int,
) -> None:  # fmt: skip
    """200 streams of a browser are open on one HTTP/2 connection, and each gets an event. At
    nginx's default of 128 the 129th would wait for ever."""
    gateway = await start_gateway(ownership="token", cors_origins=origin)
    async with behind_nginx(tmp_path / "nginx", gateway.url, origin, most_streams=most) as nginx:
        await page.evaluate(_OPEN, [stream_url(nginx), STREAMS])
        await eventually(lambda: _is(page, "connected", connected))
        await redis.publish("execution:run-1", producer_message("step:started"))
        await eventually(lambda: _is(page, "arrived.length", connected))
        assert len(gateway.components.hub) == connected
        await page.evaluate("sources.forEach((source) => source.close())")
        await eventually(lambda: len(gateway.components.hub) == 0)
        lines = re.findall(r'"GET \S+/stream HTTP/2.0" .* connection=(\d+) ', nginx.logged())
        assert len(lines) >= connected
        assert len(set(lines)) == 1
        assert "eyJ" not in nginx.logged()


async def _is(page: Page, expression: str, value: int) -> bool:
    return bool(await page.evaluate(expression) == value)


async def test_at_once(
    start_gateway: StartGateway, redis: Redis, origin: str, page: Page, tmp_path: Path
) -> None:
    """Over HTTP/2 too an event is in the browser within 50 ms of its publication."""
    gateway = await start_gateway(ownership="token", cors_origins=origin)
    async with behind_nginx(tmp_path / "nginx", gateway.url, origin) as nginx:
        await page.evaluate(_OPEN, [stream_url(nginx), 1])
        await eventually(lambda: _is(page, "connected", 1))
        published = []
        for number in range(1, 12):
            published.append(time.time())
            await redis.publish("execution:run-1", producer_message("step:started"))
            await eventually(partial(_is, page, "arrived.length", number))
        arrived = [one / 1000 for one in await page.evaluate("arrived")]
    seconds = [late - early for early, late in zip(published, arrived, strict=True)]
    # The median: this machine may be busy with something else for a moment.
    assert statistics.median(seconds) < 0.05, seconds


async def test_tabs_survive(
    redis_url: str, redis: Redis, origin: str, window: BrowserContext, tmp_path: Path
) -> None:
    """Twenty tabs with the browser's own EventSource go through a reload of nginx and a restart of
    the gateway while events are published, and see each of them once, in order, to the end."""
    settings = {
        "REDIS_URL": redis_url,
        "GATEWAY_OWNERSHIP": "token",
        "GATEWAY_CORS_ORIGINS": origin,
        "GATEWAY_PORT": str(free_port()),
        "GATEWAY_DRAIN_SECONDS": "0.5",
    }
    upstream = f"http://127.0.0.1:{settings['GATEWAY_PORT']}"
    async with behind_nginx(tmp_path / "nginx", upstream, origin) as nginx:
        tabs = [Tab(await trusting(window, origin)) for _ in range(TABS)]
        producer = Producer(redis)
        async with serving(**settings) as first:
            await first.says("Subscribed")
            for tab in tabs:
                await tab.page.evaluate("url => follow(url)", stream_url(nginx))
                await tab.sees("connected")
            await producer.publish(5)
            nginx.reload()
            await producer.publish(5)
            first.signal(signal.SIGTERM)
            assert await first.ended() == 0
        async with serving(**settings) as second:
            await second.says("Subscribed")
            await producer.publish(5)
            for tab in tabs:
                await tab.sees("connected", times=2)
            await producer.publish(4, last="execution:completed")
            for tab in tabs:
                await tab.closed()
        for tab in tabs:
            assert await numbers(tab) == list(range(producer.number))
        assert "eyJ" not in nginx.logged()


async def test_package_survives(
    redis_url: str, origin: str, window: BrowserContext, tmp_path: Path
) -> None:
    """Twenty tabs with the package, imported through nginx, go through a gateway that is killed and
    comes back only after more was published: each shows that it reconnects, and sees each event
    once, in order, to the end; nothing of a token is in nginx's log."""
    settings = {
        "REDIS_URL": redis_url,
        "GATEWAY_OWNERSHIP": "token",
        "GATEWAY_CORS_ORIGINS": origin,
        "GATEWAY_PORT": str(free_port()),
    }
    upstream = f"http://127.0.0.1:{settings['GATEWAY_PORT']}"
    async with (
        behind_nginx(tmp_path / "nginx", upstream, origin) as nginx,
        # A bare PUBLISH that no gateway hears would be lost.
        Publisher(redis_url) as publisher,
    ):

        async def publish(*numbers: int, end: bool = False) -> None:
            for number in numbers:
                await publisher.publish("run-1", "step:started", {"number": number})
            if end:
                await publisher.execution_completed("run-1")

        tabs = [Follower(Tab(await trusting(window, origin))) for _ in range(TABS)]
        async with serving(**settings) as first:
            await first.says("Subscribed")
            for tab in tabs:
                await tab.follow(nginx.url, share=False)
            await publish(1, 2)
            for tab in tabs:
                await tab.sees(1, 2)
            first.signal(signal.SIGKILL)
            await first.ended()
        for tab in tabs:
            await tab.is_("reconnecting")
        await publish(3, 4)
        async with serving(**settings):
            for tab in tabs:
                await tab.sees(1, 2, 3, 4)
                await tab.is_("live")
            await publish(5, end=True)
            for tab in tabs:
                await tab.sees(1, 2, 3, 4, 5, "execution:completed")
                await tab.is_("completed")
        assert len(re.findall(r'"GET \S+/stream HTTP/2.0" 200', nginx.logged())) >= 2 * TABS
        assert "eyJ" not in nginx.logged()


class Producer:
    """Publishes numbered events in run-1."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self.number = 0

    async def publish(self, count: int, last: str = "step:started") -> None:
        for left in range(count - 1, -1, -1):
            message = producer_message("step:started" if left else last, number=self.number)
            await self._redis.publish("execution:run-1", message)
            self.number += 1


async def numbers(tab: Tab) -> list[int]:
    """Of the events of the execution that the tab has seen, in order."""
    documents = [one["document"] for one in await tab.seen()]
    return [one["data"]["number"] for one in documents if "number" in one.get("data", {})]
