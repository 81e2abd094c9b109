"""Several runs side by side, and what the page's address keeps of what is shown.

The pictures stay in `artefacts/`.
"""

from collections.abc import AsyncIterator
from typing import Literal

import pytest
from playwright.async_api import Locator, Page, expect

from gateway.publisher import Publisher
from tests.browser.dev_page import kept, shown
from tests.browser.page.test_timeline import load_axe
from tests.browser.tab import Tab
from tests.browser.test_dev_page import found_by_axe
from tests.browser.test_first_minute import SMALLEST_TARGET, TARGETS
from tests.browser.test_list import NO_SESSION, sign_in
from tests.conftest import StartGateway
from tests.support import eventually

RUNS = {"run-1": "invoices", "run-2": "onboarding", "run-3": "invoices", "run-4": "archive"}
EMAIL = {"node_id": "a", "node_type": "email"}
SIGNATURE = {"node_id": "b", "node_type": "signature"}


@pytest.fixture
async def publisher(redis_url: str) -> AsyncIterator[Publisher]:
    """Of these runs, each with one step that is done and one that goes on."""
    async with Publisher(redis_url) as publisher:
        for run, workflow in {**RUNS, "run-5": "archive"}.items():
            await publisher.register(run, "acme", workflow)
            await publisher.publish(run, "step:started", EMAIL)
            await publisher.publish(run, "step:completed", EMAIL)
            await publisher.publish(run, "step:started", SIGNATURE)
        yield publisher


def box(page: Page, run: str) -> Locator:
    """Its box in the list."""
    return page.locator("#list li").filter(has_text=run).get_by_role("checkbox")


def card(page: Page, run: str) -> Locator:
    return page.locator("#beside > li").filter(has_text=run)


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.long)])
async def test_runs_side_by_side_are_live_on_one_stream(
    start_gateway: StartGateway, tab: Tab, publisher: Publisher, scheme: Literal["light", "dark"]
) -> None:
    """Chosen by pointer or keyboard, at most four, each with its status, steps and what went wrong;
    a card leads to its run. axe finds nothing, and a phone shows them one below the other."""
    gateway = await start_gateway(ownership="registry", page=True)
    await tab.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    await tab.page.set_viewport_size({"width": 1280, "height": 860})
    async with shown(tab, gateway.url, expected_errors=NO_SESSION) as page:
        await sign_in(page)
        await box(page, "run-1").click()
        for run in ("run-2", "run-3", "run-4"):
            await box(page, run).press("Space")
        await expect(page.locator("#beside > li")).to_have_count(4)
        await expect(box(page, "run-5")).to_be_disabled()
        for run in RUNS:
            await expect(card(page, run)).to_contain_text("running · 1 step")
            await expect(card(page, run).locator("ol .bar")).to_have_count(2)
            await expect(card(page, run).locator("p")).to_have_text("signature, runs")
        await expect(page.locator("#connection-words")).to_have_text("live")
        # The list's, and one for all four.
        await eventually(lambda: gateway.server.streams == 2)
        await publisher.publish("run-2", "step:completed", SIGNATURE)
        await expect(card(page, "run-2")).to_contain_text("2 steps")
        await publisher.execution_failed("run-1", error_message="The shop is closed")
        await expect(card(page, "run-1")).to_contain_text("failed")
        await expect(card(page, "run-1").locator("p")).to_have_text("The shop is closed")
        await publisher.execution_paused("run-3", reason="approval")
        await expect(card(page, "run-3")).to_contain_text("paused · 1 step")
        await expect(page.locator("#run")).to_be_hidden()
        await load_axe(page)
        assert await found_by_axe(page) == []
        await kept(page, f"side-by-side-{scheme}")
        await card(page, "run-3").locator("button").click()
        await expect(page.locator("#chosen-id")).to_have_text("run-3")
        await expect(page.locator("#timeline li").first).to_be_visible()
        assert await found_by_axe(page) == []
        await kept(page, f"side-by-side-and-one-{scheme}")
        await page.set_viewport_size({"width": 390, "height": 844})
        assert await page.evaluate("document.documentElement.scrollWidth") <= 390
        lefts = "all => new Set(all.map((one) => one.offsetLeft)).size"
        assert await page.locator("#beside > li").evaluate_all(lefts) == 1
        found = await page.evaluate(TARGETS)
        assert [one for one, height in found if height < SMALLEST_TARGET] == []
        await page.locator("#beside").scroll_into_view_if_needed()
        await kept(page, f"side-by-side-phone-{scheme}")
        await card(page, "run-3").get_by_role("checkbox").click()
        await expect(page.locator("#beside > li")).to_have_count(3)
        await expect(box(page, "run-3")).not_to_be_checked()
        await expect(box(page, "run-5")).to_be_enabled()


async def test_the_address_keeps_filters_runs_side_by_side_and_the_run_in_focus(
    start_gateway: StartGateway, tab: Tab, publisher: Publisher
) -> None:
    """A reload and a link show the same; the back button what was before, to the empty page."""
    gateway = await start_gateway(ownership="registry", page=True)
    rows, cards = tab.page.locator("#list li"), tab.page.locator("#beside > li")
    await publisher.execution_failed("run-1", error_message="no")
    async with shown(tab, gateway.url, expected_errors=NO_SESSION) as page:
        await sign_in(page)
        await page.select_option("#status-filter", "failed")
        await expect(rows).to_have_count(1)
        await box(page, "run-1").click()
        await page.select_option("#status-filter", "")
        await box(page, "run-3").click()
        await page.fill("#workflow-filter", "invoices")
        await page.press("#workflow-filter", "Enter")
        await expect(rows).to_have_count(2)
        await rows.filter(has_text="run-3").get_by_role("button").click()
        for _ in range(2):
            await expect(page.locator("#chosen-id")).to_have_text("run-3")
            await expect(page.locator("#workflow-filter")).to_have_value("invoices")
            await expect(rows).to_have_count(2)
            await expect(cards).to_have_count(2)
            assert page.url == f"{gateway.url}/?run=run-1&run=run-3&workflow=invoices#/run-3"
            await page.reload()
        await page.go_back()
        await expect(page.locator("#run")).to_be_hidden()
        await expect(cards).to_have_count(2)
        await page.go_back()
        await expect(page.locator("#workflow-filter")).to_have_value("")
        await expect(rows).to_have_count(5)
        for _ in range(3):
            await page.go_back()
        await expect(cards).to_have_count(0)
        await expect(page.locator("#status-filter")).to_have_value("failed")
        await expect(rows).to_have_count(1)
        await page.go_forward()
        await expect(cards).to_have_count(1)


@pytest.mark.long
async def test_an_address_with_what_no_run_is_called_shows_the_others(
    start_gateway: StartGateway, tab: Tab, publisher: Publisher
) -> None:
    """At most four, each once."""
    gateway = await start_gateway(ownership="registry", page=True)
    names = ["%3Cb%3E", "run-1", "run-1", "unknown", "", "run-2", "run-3", "run-4", "run-5"]
    query = "&".join(f"run={name}" for name in names)
    async with shown(
        tab, f"{gateway.url}/?{query}&status=none", expected_errors=NO_SESSION
    ) as page:
        await sign_in(page)
        await expect(page.locator("#beside > li")).to_have_count(4)
        await expect(card(page, "run-2")).to_contain_text("running")
        await expect(card(page, "unknown")).to_contain_text("no event yet")
        await expect(page.locator("#status-filter")).to_have_value("")
        await expect(page.locator("#list li")).to_have_count(5)
