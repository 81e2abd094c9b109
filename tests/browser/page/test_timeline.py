"""The timeline of the page: long runs, repeated and parallel steps, and what is not known of a run.

The pictures stay in `artefacts/`.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.async_api import Locator, Page, expect
from redis.asyncio import Redis

from gateway.contract.scripts import HistoryLimits
from gateway.publisher import Publisher
from tests.browser.dev_page import kept, shown, watch
from tests.browser.tab import Tab
from tests.browser.test_dev_page import found_by_axe
from tests.http.histories import Producer
from tests.npm import MODULES
from tests.support import free_port
from tests.tools.dev.conftest import StartViewer

BEGAN = datetime.now(UTC) - timedelta(minutes=10)
SIZES = ((1280, 860), (390, 844))


async def step(
    publisher: Publisher, node: str, begin: float, end: float | None, **data: Any
) -> None:
    """A step of *node* from *begin* to *end*, in seconds after `BEGAN`; without an end it runs."""
    node_id = data.pop("node_id", node)
    begun = BEGAN + timedelta(seconds=begin)
    about = {"node_id": node_id, "node_type": node, "started_at": begun.isoformat()}
    buffered = publisher.buffered
    buffered.publish("my-run", "step:started", about, timestamp=begun)
    if end is None:
        return
    ended = BEGAN + timedelta(seconds=end)
    kind = "failed" if "error" in data else "completed"
    about |= {"completed_at": ended.isoformat(), **data}
    buffered.publish("my-run", f"step:{kind}", about, timestamp=ended)


async def pictures(page: Page, name: str) -> None:
    """Keep a picture of each size."""
    for width, height in SIZES:
        await page.set_viewport_size({"width": width, "height": height})
        # Drawn for that width.
        await page.evaluate("new Promise((done) => setTimeout(done, 300))")
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        await kept(page, f"{name}-{width}")
    await page.set_viewport_size({"width": SIZES[0][0], "height": SIZES[0][1]})


async def load_axe(page: Page) -> None:
    # Not as a script of the page, whose policy would not have it.
    await page.evaluate(f"() => {{ {(MODULES / 'axe-core' / 'axe.min.js').read_text()} }}")


def row(page: Page, name: str) -> Locator:
    return page.locator("#timeline li").filter(has=page.locator(f".name:text-is('{name}')"))


async def test_a_long_run_shows_its_last_steps_and_can_be_seen_whole(
    start_viewer: StartViewer, tab: Tab, redis_url: str
) -> None:
    """The last steps are wide enough to be read; buttons show earlier ones, more, less and all; and
    what the user has chosen stays when further steps come."""
    principal = await start_viewer(pace=None)
    part, rows = tab.page.locator("#part"), tab.page.locator("#timeline li")
    async with Publisher(redis_url) as publisher, shown(tab, principal.url) as page:
        for number in range(120):
            await step(publisher, f"step {number}", number, number + 0.9)
        await publisher.flush()
        await publisher.execution_completed("my-run", completed_at=BEGAN + timedelta(seconds=120))
        await watch(page, "my-run")
        await expect(part).to_have_text(re.compile(r"^1\d of 120 steps$"))
        await expect(rows.last).to_contain_text("step 119")
        widths = "all => Math.min(...all.map((one) => one.clientWidth))"
        assert await page.locator("#timeline .bar").evaluate_all(widths) > 8
        await pictures(page, "last-steps")
        await page.click("text=Whole run")
        await expect(part).to_be_empty()
        await expect(rows).to_have_count(120)
        await pictures(page, "whole-run")
        await page.click("text=Last steps")
        await page.get_by_role("button", name="Earlier").click()
        await expect(rows.filter(has_text="step 119")).to_have_count(0)
        for _ in range(2):
            await page.get_by_role("button", name="Zoom in").click()
        await expect(part).to_have_text(re.compile(r"^[4-9] of 120 steps$"))
        await pictures(page, "zoomed")


@pytest.mark.long
async def test_a_node_that_repeats_is_one_row_with_a_lane_for_each_of_its_parallel_steps(
    start_viewer: StartViewer, tab: Tab, redis_url: str
) -> None:
    """A run that fans out is as many rows as it has nodes; a failure among hundreds is seen."""
    principal = await start_viewer(pace=None)
    async with Publisher(redis_url) as publisher, shown(tab, principal.url) as page:
        await step(publisher, "split", 0, 2)
        for number in range(6):
            late = 0.3 * number
            await step(publisher, "render", 2 + late, 9 + late, node_id=f"r{number}")
        for number in range(300):
            failed = {"error": "The shop is closed"} if number == 170 else {}
            await step(publisher, "upload", 10 + number / 30, 10.03 + number / 30, **failed)
        for attempt in range(2):
            failed = {"error": "503 Service Unavailable"} if attempt == 0 else {}
            await step(publisher, "notify", 21 + attempt * 2, 22 + attempt * 2, **failed)
        await step(publisher, "archive", 24.5, None)
        await publisher.flush()
        await watch(page, "my-run")
        await expect(page.locator("#timeline li")).to_have_count(6)
        await expect(row(page, "render").locator(".lasted")).to_have_text("6 steps")
        await expect(row(page, "render").locator(".bar")).to_have_count(6)
        tops = "all => new Set(all.map((one) => one.offsetTop)).size"
        assert await row(page, "render").locator(".bar").evaluate_all(tops) == 6
        assert await row(page, "upload").locator(".bar.error").count() == 1
        assert await row(page, "upload").locator(".bar").count() < 100
        await expect(row(page, "notify")).to_have_count(2)
        await pictures(page, "fanned-out")
        await publisher.execution_failed(
            "my-run", error_message="Stopped", completed_at=BEGAN + timedelta(seconds=30)
        )
        await expect(row(page, "archive")).to_have_attribute("data-state", "interrupted")
        await row(page, "upload").hover()
        await expect(row(page, "upload").locator(".details")).to_contain_text("300")
        await pictures(page, "fanned-out-interrupted")
        await load_axe(page)
        assert await found_by_axe(page) == []


@pytest.mark.long
async def test_a_bar_does_not_grow_while_nothing_arrives(
    start_viewer: StartViewer, tab: Tab, redis_url: str
) -> None:
    """Nor do the axis and the time that the run has taken; when the stream is back they go on."""
    port = free_port()
    principal = await start_viewer(pace=None, port=port)
    refusals = r"ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING"
    state = tab.page.locator("#connection-words")
    lasting = tab.page.locator("#timeline .lasted")
    async with (
        Publisher(redis_url) as publisher,
        shown(tab, principal.url, expected_errors=refusals) as page,
    ):
        await publisher.step_started("my-run", node_id="n1", node_type="email")
        await watch(page, "my-run")
        await expect(state).to_have_text("live")
        await expect(lasting).to_have_text(re.compile(r"^[1-9]"))
        await principal.stop()
        await expect(page.locator("#run.stale")).to_be_visible()
        before = [await lasting.inner_text(), await page.locator("#lasted").inner_text()]
        # One second of tries, in which a bar grows by four ticks.
        await expect(state).to_have_text(re.compile("reconnecting in [2-9] s"), timeout=20_000)
        await pictures(page, "stale")
        assert before == [await lasting.inner_text(), await page.locator("#lasted").inner_text()]
        await start_viewer(pace=None, port=port)
        await expect(state).to_have_text("live", timeout=20_000)
        await expect(lasting).not_to_have_text(before[0])


@pytest.mark.long
async def test_a_run_that_has_begun_again_and_one_with_a_gap_say_so(
    start_viewer: StartViewer, tab: Tab, redis: Redis, redis_url: str
) -> None:
    """In the order of time, where something is missing, and how much."""
    principal = await start_viewer(pace=None)
    async with Publisher(redis_url) as publisher, shown(tab, principal.url) as page:
        await step(publisher, "email", 0, 3)
        await publisher.flush()
        await watch(page, "my-run")
        await expect(page.locator("#timeline li")).to_have_count(1)
        await publisher.restart("my-run", timestamp=BEGAN + timedelta(seconds=5))
        publisher.join_run("my-run")
        await step(publisher, "webhook", 6, 9)
        await publisher.flush()
        await expect(row(page, "restarted")).to_have_attribute("data-state", "restarted")
        await expect(page.locator("#timeline li")).to_have_count(2)
        await pictures(page, "restarted")
        producer = Producer(redis, "trimmed", limits=HistoryLimits(max_events=100))
        await producer.steps([f"n{number}" for number in range(80)])
        await producer.publish("execution:completed")
        await watch(page, "trimmed")
        await expect(page.locator("#timeline li").first).to_contain_text("events are missing")
        await expect(page.locator("#timeline li").first).to_have_attribute("data-state", "missing")
        await pictures(page, "trimmed")
