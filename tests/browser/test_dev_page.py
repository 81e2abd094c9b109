"""The page of `sse-gateway dev` in a real Chromium."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from playwright.async_api import Page, expect
from redis.asyncio import Redis

from tests.browser.tab import Tab
from tests.dev.conftest import StartViewer
from tests.support import eventually, producer_message

NEVER = "(?!)"


@asynccontextmanager
async def shown(tab: Tab, url: str, *, expected_errors: str = NEVER) -> AsyncIterator[Page]:
    """The page at *url*; no script of it fails, nothing that it asks for is missing, and it asks
    no other host."""
    hosts: set[str] = set()
    tab.page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    await tab.page.goto(url)
    yield tab.page
    assert [error for error in tab.errors if not re.search(expected_errors, error)] == []
    assert hosts <= {urlsplit(url).netloc, ""}


async def test_steps_appear(start_viewer: StartViewer, tab: Tab) -> None:
    """Steps of simulated executions appear, and what has ended is listed as such."""
    viewer = await start_viewer(pace=30)
    async with shown(tab, viewer.url) as page:
        demo = page.locator("article[data-execution=demo]")
        await expect(demo).to_contain_text("live")
        await expect(demo.locator("li").first).to_contain_text("webhook")
        await expect(demo.locator("li", has_text="success").first).to_be_visible()
        await expect(page.locator("#state")).to_have_text(re.compile(r"^live: \d streams"))
        await expect(page.locator("#ended li", has_text="completed").first).to_be_visible()
        await expect(page.locator("#ended li", has_text="failed").first).to_be_visible()
        assert "Bearer" not in page.url


async def test_live(start_viewer: StartViewer, tab: Tab, redis: Redis) -> None:
    """An event that a worker publishes appears through the stream, as text whatever it holds."""
    viewer = await start_viewer(pace=None)
    markup = "<img src=/dev/nothing onerror='document.title = 1'>"
    async with shown(tab, viewer.url) as page:
        await expect(page.locator("#none")).to_be_visible()
        await watch(page, "my-run")
        card = page.locator("article[data-execution=my-run]")
        await expect(card).to_contain_text("live")
        for message in (
            producer_message("step:started", node_id="a", node_type=markup),
            producer_message("step:failed", node_id="b", node_type="email", error=markup),
            producer_message("step:started"),
            b'{"type": "step:completed", "data": null}',
            producer_message("execution:paused", reason=markup),
        ):
            await redis.publish("execution:my-run", message)
        await expect(card.locator("strong")).to_have_text(f"paused, waits for {markup}")
        await expect(card.locator(".trouble")).to_have_text(markup)
        await expect(card.locator("li").first).to_contain_text(markup)
        assert await page.locator("img").count() == 0
        await redis.publish("execution:my-run", producer_message("execution:canceled"))
        await expect(card.locator("strong")).to_have_text("canceled")
        await eventually(lambda: viewer.server.streams == 0)
        assert await page.title() == "Executions, live"


async def watch(page: Page, execution_id: str) -> None:
    """Ask the page for an execution that is not listed."""
    await page.fill("#watch-id", execution_id)
    await page.click("#watch button")


async def test_four_streams(start_viewer: StartViewer, tab: Tab) -> None:
    """Of five executions four have a stream; the fifth says that it has none; a hidden tab has
    none at all."""
    viewer = await start_viewer(pace=None)
    async with shown(tab, viewer.url) as page:
        for number in range(5):
            await watch(page, f"run-{number}")
        await expect(page.locator("#state")).to_have_text("live: 4 streams")
        await expect(page.locator("article", has_text="waits for a free stream")).to_have_count(1)
        assert viewer.server.streams == 4
        # In front of it, as when another tab of the window is chosen.
        other = await page.context.new_page()
        await eventually(lambda: viewer.server.streams == 0)
        await expect(page.locator("#state")).to_have_text("no stream is open")
        await other.close()
        await page.bring_to_front()
        await eventually(lambda: viewer.server.streams == 4)


async def test_restart(start_viewer: StartViewer, tab: Tab) -> None:
    """A gateway that goes away is said; one that comes back with another secret is joined."""
    viewer = await start_viewer(pace=None)
    refusals = r"ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|status of 401"
    async with shown(tab, viewer.url, expected_errors=refusals) as page:
        await watch(page, "my-run")
        state = page.locator("#state")
        await expect(state).to_have_text("live: 1 stream")
        await viewer.stop()
        await expect(state).to_have_text(re.compile(r"^0 of 1 stream live; the list is .* old"))
        port = urlsplit(viewer.url).port
        await start_viewer(pace=None, secret="another-secret-of-32-bytes-or-more!", port=port)
        await expect(state).to_have_text("live: 1 stream", timeout=15_000)
