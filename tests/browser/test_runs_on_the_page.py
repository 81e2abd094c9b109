"""The page shows of a run what is known, and what is not known as such."""

from typing import Any

import orjson
from playwright.async_api import Page, expect
from redis.asyncio import Redis

from gateway.contract.scripts import HistoryLimits
from tests.browser.dev_page import kept, shown, watch
from tests.browser.tab import Tab
from tests.events.folding import RUNS, terminal_types_of
from tests.http.histories import Producer
from tests.tools.dev.conftest import StartViewer

CHOSEN = {
    "every step that is open when the run ends is interrupted, the others stay": "interrupted",
    "one node fanned out over three items, ends in another order": "fanned out",
    "the same end delivered twice counts once": "same end",
    "a step that ends ends the pause": "pause ended",
    "an engine's own ending: execution:archived {}": "ended",
    "an engine's own ending: flow_run.TimedOut {}": "own ending",
    'an error that is no text: {"code": 7}': "error",
    "an end whose data was lost is no success": "data lost",
    "times in seconds": "seconds",
    "a time that is none": "no time",
    "a run that ends at an unknown time interrupts at an unknown time": "unknown end",
    "events without any time": "no times at all",
}
STATES = {"success": "done", "error": "failed", "interrupted": "interrupted", "running": "runs"}


async def shows(page: Page, expected: dict[str, Any]) -> None:
    """Wait until the page shows what is *expected* of a run document."""
    if "status" in expected:
        await expect(page.locator("#status")).to_have_text(expected["status"])
    if expected.get("error_message"):
        await expect(page.locator("#outcome .problem")).to_have_text(expected["error_message"])
    for number, step in enumerate(expected.get("execution_logs", [])):
        row = page.locator("#timeline li[data-state]:not([data-state=waiting])").nth(number)
        if "status" in step:
            await expect(row).to_have_attribute("data-state", step["status"])
            await expect(row.locator(".details")).to_contain_text(STATES[step["status"]])
        if step.get("error"):
            await expect(row.locator(".problem")).to_have_text(step["error"])
        if step.get("duration_ms", 0) is None:
            await expect(row.locator(".lasted")).to_have_text("unknown")


async def test_runs(start_viewer: StartViewer, tab: Tab, redis: Redis) -> None:
    """Steps that were interrupted, endings of an engine's own, errors that are no text and unknown
    times are shown as what they are, and the axis of an ended run ends with it."""
    runs = [run for run in RUNS if run["name"] in CHOSEN]
    assert len(runs) == len(CHOSEN)
    types = list(dict.fromkeys(one for run in runs for one in terminal_types_of(run)))
    principal = await start_viewer(pace=None, terminal_types=",".join(types))
    await tab.page.set_viewport_size({"width": 1000, "height": 700})
    async with shown(tab, principal.url) as page:
        for number, run in enumerate(runs):
            producer = Producer(redis, f"run-{number}", terminal_types=types)
            for event in run["events"]:
                await producer.publish_raw(event["type"], orjson.dumps(event))
            await watch(page, f"run-{number}")
            await shows(page, run["expect"])
            await kept(page, f"run {CHOSEN[run['name']]}")
            if run["expect"].get("status", "running") != "running":
                # They were all played in one minute, long ago.
                assert " h" not in await page.locator("#axis").inner_text()
            assert "0 ms" not in await page.locator("#timeline .lasted").all_inner_texts()


async def test_a_part_of_a_run(start_viewer: StartViewer, tab: Tab, redis: Redis) -> None:
    """A run whose first events are no longer kept is said to be a part; its duration is not that of
    the part."""
    principal = await start_viewer(pace=None)
    producer = Producer(redis, limits=HistoryLimits(max_events=100))
    await producer.steps([f"n{number}" for number in range(150)])
    await producer.publish("execution:completed")
    async with shown(tab, principal.url) as page:
        await watch(page, "run-1")
        await expect(page.locator("#status")).to_have_text("completed")
        await expect(page.locator("#outcome")).to_contain_text("This is a part of the run: ")
        await expect(page.locator("#lasted")).to_have_text("unknown")
        await kept(page, "run part")
