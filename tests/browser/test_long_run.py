"""The page with a run of hundreds of steps."""

from playwright.async_api import expect
from redis.asyncio import Redis

from gateway.publisher import Publisher
from tests.browser.dev_page import kept, shown, watch
from tests.browser.tab import Tab
from tests.tools.dev.conftest import StartViewer

KEPT, LIVE = 300, 200


async def take_step(publisher: Publisher, number: int) -> None:
    step = {"node_id": f"node-{number}", "node_type": f"step {number}"}
    await publisher.publish("my-run", "step:started", step)
    await publisher.publish("my-run", "step:completed", {**step, "duration_ms": 5})


async def test_long_run(start_viewer: StartViewer, tab: Tab, redis: Redis, redis_url: str) -> None:
    """A run of hundreds of steps is shown whole, those that history keeps as those that come one
    upon the other: a bar for each step, a line for each event, in their order. The latest ones are
    in sight, beside the axis and the log. What was opened stays open, and a filter holds for what
    comes later too."""
    principal = await start_viewer(pace=None)
    bars, lines = (tab.page.locator(f"#{name} li") for name in ("timeline", "log"))
    await tab.page.set_viewport_size({"width": 1280, "height": 1280})
    async with Publisher(redis_url) as publisher, shown(tab, principal.url) as page:
        for number in range(KEPT):
            await take_step(publisher, number)
        await watch(page, "my-run")
        await expect(bars).to_have_count(KEPT)
        await page.fill("#filter", "step:completed")
        await lines.nth(1).locator("summary").click()
        for number in range(KEPT, KEPT + LIVE):
            await take_step(publisher, number)
        await expect(bars).to_have_count(KEPT + LIVE)
        await expect(page.locator("#log li:visible")).to_have_count(KEPT + LIVE)
        names = await bars.locator(".name").all_text_contents()
        assert names == [f"step {number}" for number in range(KEPT + LIVE)]
        await expect(lines.nth(1).locator("pre")).to_be_visible()
        for seen in (bars.last, page.locator("#axis"), lines.nth(1)):
            await expect(seen).to_be_in_viewport()
        await kept(page, "long-run")
        await page.fill("#filter", "")
        await expect(page.locator("#log li:visible")).to_have_count(2 * (KEPT + LIVE))
