"""The page with a run of hundreds of steps."""

from playwright.async_api import expect
from redis.asyncio import Redis

from gateway.publisher import Publisher
from tests.browser.dev_page import kept, shown, watch
from tests.browser.tab import Tab
from tests.tools.dev.conftest import StartViewer

KEPT, LIVE = 300, 200
DRAWN = 200
"""Most rows of the timeline."""

GROWN_BEFORE_THE_SCROLL_IS_ANNOUNCED = """async () => {
    const list = document.getElementById("steps");
    list.scrollTop -= 1;
    await new Promise(requestAnimationFrame);
    list.scrollTop = 1e7;
    const more = Array.from({ length: 40 }, () => document.createElement("li"));
    for (const one of more) one.textContent = "one more";
    document.getElementById("timeline").append(...more);
    for (let n = 0; n < 2; n++) await new Promise(requestAnimationFrame);
    const left = list.scrollHeight - list.clientHeight - list.scrollTop;
    for (const one of more) one.remove();
    return left;
}"""
"""How many pixels the list is from its end, after it has grown at the moment of a scroll to it."""


async def take_step(publisher: Publisher, number: int) -> None:
    step = {"node_id": f"node-{number}", "node_type": f"step {number}"}
    await publisher.publish("my-run", "step:started", step)
    await publisher.publish("my-run", "step:completed", {**step, "duration_ms": 5})


async def test_long_run(start_viewer: StartViewer, tab: Tab, redis: Redis, redis_url: str) -> None:
    """A run of hundreds of steps can be seen whole, those that history keeps as those that come one
    upon the other: a bar for the latest steps, a line for the latest events, in their order, and
    buttons for earlier ones. The latest ones are in sight, beside the axis and the log. What was
    opened stays open, and a filter holds for what comes later too."""
    principal = await start_viewer(pace=None)
    bars, lines = (tab.page.locator(f"#{name} li") for name in ("timeline", "log"))
    await tab.page.set_viewport_size({"width": 1280, "height": 1280})
    async with Publisher(redis_url) as publisher, shown(tab, principal.url) as page:
        for number in range(KEPT):
            await take_step(publisher, number)
        await watch(page, "my-run")
        await page.fill("#filter", "step:completed")
        await expect(lines).to_have_count(KEPT)
        await lines.nth(1).locator("summary").click()
        for number in range(KEPT, KEPT + LIVE):
            await take_step(publisher, number)
        await expect(lines).to_have_count(KEPT + LIVE)
        await page.click("text=Whole run")
        await expect(page.locator("#part")).to_have_text(f"{DRAWN} of {KEPT + LIVE} steps")
        names = await bars.locator(".name").all_text_contents()
        assert names == [f"step {number}" for number in range(KEPT + LIVE - DRAWN, KEPT + LIVE)]
        await expect(lines.nth(1).locator("pre")).to_be_visible()
        for seen in (bars.last, page.locator("#axis"), lines.nth(1)):
            await expect(seen).to_be_in_viewport()
        await kept(page, "long-run")
        assert await page.evaluate(GROWN_BEFORE_THE_SCROLL_IS_ANNOUNCED) < 1
        await page.fill("#filter", "")
        await expect(lines).to_have_count(KEPT + LIVE)
        await page.click(f"text={KEPT + LIVE} earlier events")
        await expect(lines).to_have_count(2 * (KEPT + LIVE))
        await expect(lines.first).to_contain_text("step 0")
