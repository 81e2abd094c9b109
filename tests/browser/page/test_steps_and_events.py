"""The steps of a run and its events: attempts, one step's events, what is missing, a file.

The pictures stay in `artefacts/`.
"""

from pathlib import Path

import orjson
import pytest
from playwright.async_api import BrowserContext, Locator, Page, expect
from redis.asyncio import Redis

from gateway.contract.scripts import HistoryLimits
from gateway.publisher import Publisher
from tests.browser.dev_page import publish, shown, watch
from tests.browser.page.test_timeline import BEGAN, load_axe, pictures, row, step
from tests.browser.tab import Tab
from tests.browser.test_dev_page import found_by_axe
from tests.http.histories import Producer
from tests.tools.dev.conftest import StartViewer


def types(page: Page) -> Locator:
    """Of the events that are shown."""
    return page.locator("#log summary span:nth-child(2)")


async def test_a_retried_step_shows_which_attempt_it_is(
    start_viewer: StartViewer, tab: Tab, redis_url: str
) -> None:
    """As its events say; a node that comes again without a number of its own is the first one."""
    principal = await start_viewer(pace=None)
    async with Publisher(redis_url) as publisher, shown(tab, principal.url) as page:
        await step(publisher, "notify", 0, 1, error="503", attempt=1, position=1)
        await step(publisher, "notify", 2, 3, error="503", attempt="2", position=1)
        await step(publisher, "notify", 4, None, position=1)
        await step(publisher, "render", 5, 6, error="no", attempt=1, position=2)
        await step(publisher, "render", 7, 8, attempt=1, position=3)
        await publisher.flush()
        await watch(page, "my-run")
        notify, render = row(page, "notify"), row(page, "render")
        await expect(notify).to_have_count(3)
        asides = notify.locator(".lasted")
        await expect(asides.nth(0)).to_have_text("1.0 s")
        await expect(asides.nth(1)).to_have_text("attempt 2 · 1.0 s")
        await expect(render.locator(".lasted")).to_have_text(["1.0 s", "1.0 s"])
        await notify.nth(1).hover()
        await expect(notify.nth(1).locator(".details")).to_contain_text("attempt2")
        await expect(notify.nth(1)).to_have_attribute(
            "aria-label", "notify, failed, attempt 2 · 1.0 s, 503"
        )


@pytest.mark.long
async def test_without_numbers_a_start_after_a_failure_is_the_next_attempt(
    start_viewer: StartViewer, tab: Tab, redis_url: str
) -> None:
    """Of the same node; one at the same time, after a success or of another position is not."""
    principal = await start_viewer(pace=None)
    async with Publisher(redis_url) as publisher, shown(tab, principal.url) as page:
        for begin in (0, 2):
            await step(publisher, "notify", begin, begin + 1, error="503")
        await step(publisher, "notify", 4, 5)
        await step(publisher, "render", 6, 7)
        await step(publisher, "render", 8, 9)
        for item in range(2):
            await step(publisher, "upload", 10 + item, 14, error="no")
        for item in range(2):
            await step(publisher, "resize", 15 + item, 15.5 + item, error="no", position=item)
        await publisher.flush()
        await watch(page, "my-run")
        asides = ["1.0 s", "attempt 2 · 1.0 s", "attempt 3 · 1.0 s", *["1.0 s"] * 2]
        asides += ["4.0 s", "3.0 s", "0.5 s", "0.5 s"]
        await expect(page.locator("#timeline .lasted")).to_have_text(asides)
        await pictures(page, "attempts")


async def test_a_step_shows_its_own_events_and_the_way_back(
    start_viewer: StartViewer, tab: Tab, redis_url: str
) -> None:
    """With the pointer or Enter: those of this attempt, also while it goes on, and of a row of many
    steps those of all of them. axe finds nothing."""
    principal = await start_viewer(pace=None)
    only, all_types = tab.page.locator("#only"), ["step:started", "step:failed", "step:started"]
    async with Publisher(redis_url) as publisher, shown(tab, principal.url) as page:
        await step(publisher, "notify", 0, 1, error="503")
        await step(publisher, "notify", 2, None)
        await publisher.flush()
        await watch(page, "my-run")
        await expect(types(page)).to_have_text(all_types)
        await row(page, "notify").nth(0).click()
        await expect(types(page)).to_have_text(["step:started", "step:failed"])
        await expect(row(page, "notify").nth(0)).to_have_attribute("aria-current", "true")
        await expect(only).to_have_text("Only notify: show all")
        await load_axe(page)
        assert await found_by_axe(page) == []
        await pictures(page, "one-step")
        await only.click()
        await expect(types(page)).to_have_text(all_types)
        await expect(only).to_be_hidden()
        await row(page, "notify").nth(1).press("Enter")
        await expect(types(page)).to_have_text(["step:started"])
        about = {"node_id": "notify", "node_type": "notify"}
        await publisher.publish("my-run", "step:progress", {**about, "done": 0.5})
        await publisher.publish("my-run", "step:started", {"node_id": "other"})
        await publisher.publish("my-run", "step:completed", about)
        mine = ["step:started", "step:progress", "step:completed"]
        await expect(types(page)).to_have_text(mine)
        await row(page, "notify").nth(1).press("Enter")
        await expect(types(page)).to_have_count(6)
        for number in range(4):
            await publisher.publish("my-run", "step:started", {"node_id": f"r{number}", **RENDER})
        # Fewer are a row each.
        await expect(page.locator("#timeline li", has_text="4 steps")).to_have_count(1)
        await row(page, "render").click()
        await expect(types(page)).to_have_count(4)
        # Published later than they happened.
        times = {"started_at": BEGAN.isoformat(), "completed_at": BEGAN.isoformat()}
        for kind in ("started", "completed"):
            await publisher.publish("my-run", f"step:{kind}", {"node_id": "late", **times})
        await publisher.execution_completed("my-run")
        await expect(page.locator("#status")).to_have_text("completed")
        await row(page, "late").click()
        await expect(types(page)).to_have_text(["step:started", "step:completed"])
        await expect(row(page, "late")).to_have_attribute("aria-current", "true")
        await watch(page, "my-other-run")
        await expect(only).to_be_hidden()


RENDER = {"node_type": "render"}


@pytest.mark.long
async def test_a_part_of_a_run_has_a_mark_where_events_are_missing(
    start_viewer: StartViewer, tab: Tab, redis: Redis
) -> None:
    """In the timeline and among the events, also when the page comes back to a run whose end it has
    seen."""
    principal = await start_viewer(pace=None)
    producer = Producer(redis, limits=HistoryLimits(max_events=100))
    await producer.steps([f"n{number}" for number in range(80)])
    await producer.publish("execution:completed")
    async with shown(tab, principal.url) as page:
        for run in ("run-1", "my-run", "run-1"):
            await watch(page, run)
            if run == "my-run":
                continue
            await expect(page.locator("#status")).to_have_text("completed")
            missing = page.locator("#log li.gap")
            await expect(missing).to_contain_text("events are missing")
            assert await missing.evaluate("(one) => one === document.querySelector('#log li')")
            first = page.locator("#timeline li").first
            await expect(first).to_contain_text("events are missing")
            await expect(first).to_have_attribute("data-state", "missing")
        await page.locator("#log").evaluate("(one) => one.scrollTo(0, 0)")
        await pictures(page, "part-marked")


@pytest.mark.long
async def test_the_events_that_the_filter_leaves_are_saved_as_a_file(
    start_viewer: StartViewer, window: BrowserContext, redis: Redis
) -> None:
    principal = await start_viewer(pace=None)
    assert window.browser is not None
    # The browser's own window announces no downloads.
    context = await window.browser.new_context()
    async with context, shown(Tab(await context.new_page()), principal.url) as page:
        await watch(page, "my-run")
        for number in range(3):
            await publish(redis, "own:type", note=f"findable {number}")
        await expect(page.locator("#log li")).to_have_count(3)
        await page.fill("#filter", "FINDABLE 2")
        async with page.expect_download() as download:
            await page.click("#save")
        saved = await download.value
        assert saved.suggested_filename == "my-run.json"
        [event] = orjson.loads(Path(await saved.path()).read_bytes())
        assert event["data"] == {"note": "findable 2"}
